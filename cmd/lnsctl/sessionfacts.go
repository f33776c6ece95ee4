package main

import (
	"context"
	"fmt"
	"strings"

	culvertv1 "culvert/proto/culvert/v1"
)

// sessionSequencing says how data messages are numbered, and what the numbers told.
func sessionSequencing(q *culvertv1.Sequencing) string {
	words := "off now"
	switch {
	case q.GetRequired():
		words = "on, the LAC requires it"
	case q.GetNumbered():
		words = "on"
	}
	return words + fmt.Sprintf("; from the LAC %s late, %s lost, %s reordered",
		grouped(q.GetLate()), grouped(q.GetLost()), grouped(q.GetReordered()))
}

// lineFacts are what the LAC tells of the access line, and of errors on it.
func lineFacts(l *culvertv1.AccessLine, e *culvertv1.CallErrors) (facts []fact) {
	facts = append(facts, fact{"Circuit", l.GetCircuitId()}, fact{"Remote", l.GetRemoteId()})
	for _, v := range l.GetValues() {
		facts = append(facts, fact{lineNames.Replace(v.GetName()), lineValue(v)})
	}
	if b := l.GetEncapsulation(); len(b) > 0 {
		facts = append(facts, fact{"Loop", fmt.Sprintf("% x", b)})
	}
	if l.GetInterworking() {
		facts = append(facts, fact{"Interworking", "PPPoA to PPPoE"})
	}
	if e != nil {
		facts = append(facts, fact{"Line errors", fmt.Sprintf("%d CRC, %d framing, %d hardware overruns, %d buffer overruns, %d timeouts, %d alignment",
			e.GetCrc(), e.GetFraming(), e.GetHardwareOverruns(), e.GetBufferOverruns(), e.GetTimeouts(), e.GetAlignment())})
	}
	return facts
}

// lineNames makes RFC 4679's names fit a column.
var lineNames = strings.NewReplacer(
	"-Data-Rate-Upstream", " rate up", "-Data-Rate-Downstream", " rate down",
	"-Interleaving-Delay-Upstream", " delay up", "-Interleaving-Delay-Downstream", " delay down",
	"-Low-Power", ", low power", "Access-Line-Type", "Line type")

// lineValue is a number of the line with its unit, which its name tells.
func lineValue(v *culvertv1.AccessLineValue) string {
	switch {
	case strings.Contains(v.GetName(), "Rate"):
		return grouped(v.GetValue()) + " bit/s"
	case strings.Contains(v.GetName(), "Delay"):
		return grouped(v.GetValue()) + " ms"
	}
	return grouped(v.GetValue())
}

type sessionSpeed struct {
	ID string `arg:"" help:"The session's id (Acct-Session-Id)."`
}

// Help has an example.
func (*sessionSpeed) Help() string {
	return `The LAC answers, if it can, by telling the line's speed anew (RFC 5515); "lnsctl session
show" has it then, and so has accounting. Example:
  lnsctl session speed lns1-00000007-00000001`
}

// Run asks the LAC.
func (s *sessionSpeed) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.sessions().RequestSpeed(ctx, &culvertv1.RequestSpeedRequest{Id: s.ID})
		if err != nil {
			return err
		}
		if a.Output == "json" {
			return printOne(a, resp.GetSession(), nil)
		}
		_, err = fmt.Fprintf(a.out, "the LAC of session %s was asked; it told %s before\n", s.ID, dash(resp.GetSession().GetConnectInfo()))
		return err
	})
}
