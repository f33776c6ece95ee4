package ipsec

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"culvert/lns"
)

// charon tells why something failed, or ended, in its log alone; events say
// only that it did. So the log is read here, line by line, and everything
// in this file depends on charon's wording: where it changes, reasons become "other" and
// causes "unknown", and nothing else.

// ikeTrace is what the log has said of one IKE SA.
type ikeTrace struct {
	at           time.Duration
	remote       netip.Addr
	identity     string
	theirs, ours string // proposals
	cause        lns.SACause
	causeDetail  string
	causeAt      time.Duration
	// why is a reason that was named before the failure itself.
	why    lns.IKEReason
	detail string
	failed bool // reported
	// heardUp is whether its key exchange was seen to succeed, child whether it had a CHILD_SA.
	heardUp, child bool
}

// causeHolds is for how long a line explains an end: the old keys of an SA that was rekeyed are deleted as well, and
// that is not why the LAC falls silent an hour later.
const causeHolds = 5 * time.Second

// maxTraces bounds the IKE SAs that are remembered; beyond it the oldest half goes.
const maxTraces = 65536

// ikeLog remembers what the log said of IKE SAs that have no end yet.
type ikeLog struct{ traces map[uint32]*ikeTrace }

// rule is one line of charon's log and what it means. Groups of the expression become its arguments.
type rule struct {
	line *regexp.Regexp
	note func(t *ikeTrace, m []string)
	// fails, where set, makes the line the end of an attempt.
	fails lns.IKEReason
}

func remember(f func(*ikeTrace, string)) func(*ikeTrace, []string) {
	return func(t *ikeTrace, m []string) { f(t, m[1]) }
}

func ends(cause lns.SACause) func(*ikeTrace, []string) {
	return func(t *ikeTrace, m []string) {
		if t.cause == "" || t.cause == lns.SAEndLocal || t.at-t.causeAt > causeHolds {
			t.cause, t.causeDetail, t.causeAt = cause, m[0], t.at
		}
	}
}

// because notes a reason. The first one stays: after it, charon tries older certificates of
// the same name that it remembers, and complains of those as well. Only that no profile takes it gives way to any other: charon says that
// of each profile that it tries after the one which failed, and may say it before why that did.
func because(why lns.IKEReason, detail string) func(*ikeTrace, []string) {
	return func(t *ikeTrace, m []string) {
		if t.why != "" && (t.why != lns.IKENoConfig || why == lns.IKENoConfig) {
			return
		}
		t.why, t.detail = why, detail
		for i := 1; i < len(m); i++ {
			t.detail = strings.ReplaceAll(t.detail, fmt.Sprintf("$%d", i), m[i])
		}
	}
}

func line(s string) *regexp.Regexp { return regexp.MustCompile("^" + s) }

// rules are tried in order; the first one that fits is taken.
var rules = []rule{
	// Who it is.
	{line: line(`(\S+) is initiating an? .*IKE_SA`), note: remember(func(t *ikeTrace, s string) { t.remote, _ = netip.ParseAddr(s) })},
	{line: line(`initiating (?:\S+ Mode )?IKE_SA \S+ to (\S+)`), note: remember(func(t *ikeTrace, s string) { t.remote, _ = netip.ParseAddr(s) })},
	{line: line(`received proposals: (.*)`), note: remember(func(t *ikeTrace, s string) { t.theirs = s })},
	{line: line(`configured proposals: (.*)`), note: remember(func(t *ikeTrace, s string) { t.ours = s })},
	{line: line(`looking for (?:.* )?peer configs matching .*\.\.\.(\S+)\[(.*)\]$`), note: func(t *ikeTrace, m []string) {
		t.remote, _ = netip.ParseAddr(m[1])
		t.identity = m[2]
	}},
	{line: line(`authentication of '(.*)' with .* successful`), note: remember(func(t *ikeTrace, s string) { t.identity = s })},

	// Why an SA ends.
	{line: line(`received DELETE for (?:different )?IKE_SA.*`), note: ends(lns.SAEndDelete)},
	{line: line(`received DELETE for .*CHILD_SA.*`), note: ends(lns.SAEndDelete)},
	{line: line(`giving up after \d+ (?:retransmits|path probings|retries)`), note: ends(lns.SAEndDPD)},
	{line: line(`DPD check timed out.*`), note: ends(lns.SAEndDPD)},
	{line: line(`closing expired CHILD_SA.*`), note: ends(lns.SAEndExpired)},
	{line: line(`(?:destroying|deleting|schedule delete of) duplicate IKE_SA.*`), note: ends(lns.SAEndReplaced)},
	// Said of a LAC's delete too, but after that was said.
	{line: line(`(?:deleting IKE_SA|closing CHILD_SA) .*`), note: func(t *ikeTrace, _ []string) {
		ends(lns.SAEndLocal)(t, []string{"charon ended it by itself, or an operator did"})
	}},

	// Why an attempt fails. First what only explains.
	{line: line(`(?:subject|peer) certificate invalid \((.*)\)`), note: because(lns.IKECertExpired, "its certificate is not valid now ($1); renew it, or set the clock right")},
	{line: line(`issuer certificate invalid \((.*)\)`), note: because(lns.IKECertExpired, "the CA certificate is not valid now ($1)")},
	{line: line(`certificate was revoked on (.*)`), note: because(lns.IKECertRevoked, "its certificate was revoked on $1")},
	{line: line(`certificate status is (?:not available|unknown.*)`), note: func(t *ikeTrace, m []string) {
		if t.why == "" {
			t.detail = "nobody can tell whether its certificate is revoked (" + m[0] + ")"
		}
	}},
	{line: line(`no issuer certificate found for "(.*)"`), note: because(lns.IKECertUnknown, "no CA of ours has issued its certificate %q$1%q; the profile's ca has to hold the issuer")},
	{line: line(`constraint check failed: RULE_(CRL|OCSP)_VALIDATION is .*`), note: because(lns.IKECertUnknown,
		"nobody can tell whether its certificate is revoked, and the profile's revocation policy wants to know: no $1 answer was to be had from where the certificate says")},
	{line: line(`constraint check failed: (.*)`), note: because(lns.IKENoConfig, "it is authentic, but no profile takes it: $1")},
	{line: line(`constraint requires (.*)`), note: because(lns.IKENoConfig, "it is authentic, but no profile takes it: a profile requires $1")},
	{line: line(`tried \d+ shared keys? for '(.*)' - '(.*)', but MAC mismatched`), fails: lns.IKEAuthFailed,
		note: because(lns.IKEAuthFailed, "the pre-shared key of '$2' differs from ours for '$1'; set the same psk on both sides")},
	{line: line(`calculated HASH does not match HASH payload`), fails: lns.IKEAuthFailed,
		note: because(lns.IKEAuthFailed, "the pre-shared key differs; set the same psk on both sides")},
	{line: line(`(?:invalid HASH_V1 payload length, decryption failed\?|could not decrypt payloads|invalid ID_V1 payload length, decryption failed\?)`), fails: lns.IKEAuthFailed,
		note: because(lns.IKEAuthFailed, "its messages do not decrypt, so the pre-shared key differs; set the same psk on both sides")},
	// In IKEv1 it is said of one connection, and others are tried yet.
	{line: line(`no shared key found for '.*'\[.*\] - '.*'\[.*\]$`)},
	{line: line(`no shared key found for (.*)`), fails: lns.IKEAuthFailed,
		note: because(lns.IKEAuthFailed, "no profile has a pre-shared key for $1; name the LAC's identity in remote_ids, or its address in prefixes")},
	{line: line(`no trusted (\S+) public key found for '(.*)'`), fails: lns.IKECertUnknown,
		note: func(t *ikeTrace, m []string) {
			t.identity = m[2]
			if t.why == "" {
				t.why = lns.IKECertUnknown
				t.detail = strings.TrimPrefix(t.detail+"; no certificate that our CA vouches for has its identity", "; ")
			}
		}},
	{line: line(`signature validation failed.*`), note: because(lns.IKEAuthFailed, "its signature does not fit its certificate: it has another private key")},
	{line: line(`EAP method .* failed for peer (.*)`), fails: lns.IKEAuthFailed, note: because(lns.IKEAuthFailed, "EAP refused $1")},
	{line: line(`received AUTHENTICATION_FAILED notify.*`), fails: lns.IKEAuthFailed, note: because(lns.IKEAuthFailed, "the LAC refused our proof: compare the key, or our certificate with its CA")},

	{line: line(`(?:received proposals unacceptable|no proposal found)`), fails: lns.IKENoProposal},
	{line: line(`(?:no acceptable proposal found|no matching proposal found, sending .*)`), fails: lns.IKENoESP},
	{line: line(`received NO_PROPOSAL_CHOSEN .*`), fails: lns.IKENoProposal, note: because(lns.IKENoProposal,
		"the LAC refused what was chosen, or could not set up its side (NO_PROPOSAL_CHOSEN); its own log has the reason")},
	{line: line(`no IKE config found for (\S+)\.\.\.([^ ,]+).*`), fails: lns.IKENoConfig, note: func(t *ikeTrace, m []string) {
		t.remote, _ = netip.ParseAddr(m[2])
		t.detail = fmt.Sprintf("no LAC profile with IPsec takes IKE from %s to %s; add its address to a profile's prefixes", m[2], m[1])
	}},
	{line: line(`(?:no matching peer config found|no peer config found|no alternative config found)`), fails: lns.IKENoConfig},
	{line: line(`(?:traffic selectors (.*) unacceptable|no matching CHILD_SA config found for (.*))`), fails: lns.IKENoSelectors, note: func(t *ikeTrace, m []string) {
		t.detail = "it wants to protect " + m[1] + m[2] + ", and we udp/1701 in transport mode only; set its policy so"
	}},
	{line: line(`.* mode requested by (?:responder|initiator) is unacceptable`), fails: lns.IKENoSelectors, note: because(lns.IKENoSelectors, "it wants another mode than transport")},
	{line: line(`unable to install .*`), fails: lns.IKEKernel, note: func(t *ikeTrace, m []string) {
		t.detail = m[0] + "; charon's log has the kernel's error (a module may be missing, or the table full)"
	}},
	{line: line(`deleting half open IKE_SA with (\S+) after timeout`), fails: lns.IKENoAnswer, note: func(t *ikeTrace, m []string) {
		t.remote, _ = netip.ParseAddr(m[1])
		t.detail = "it began IKE and fell silent; a firewall may let udp/500 pass and not udp/4500 or fragments"
	}},
	{line: line(`establishing IKE_SA failed, peer not responding`), fails: lns.IKENoAnswer, note: func(t *ikeTrace, m []string) {
		t.detail = "it did not answer our IKE"
	}},
	{line: line(`ignoring IKE_SA setup from (\S+), (.*)`), fails: lns.IKEOtherFailure, note: func(t *ikeTrace, m []string) {
		t.remote, _ = netip.ParseAddr(m[1])
		t.detail = "charon's limit of half-open IKE SAs is reached: " + m[2]
	}},
}

// observe takes a line of the log. When it ends an attempt to set up an SA, the failure is given.
func (l *ikeLog) observe(now time.Duration, id uint32, conn, msg string) *lns.IKEFailure {
	for i := range rules {
		r := &rules[i]
		m := r.line.FindStringSubmatch(msg)
		if m == nil {
			continue
		}
		t := l.trace(now, id)
		if r.note != nil {
			r.note(t, m)
		}
		if r.fails == "" || t.failed {
			return nil
		}
		t.failed = id != 0
		return t.failure(r.fails, conn)
	}
	return nil
}

// failure makes the operator's sentence.
func (t *ikeTrace) failure(reason lns.IKEReason, conn string) *lns.IKEFailure {
	if t.why != "" {
		reason = t.why
	}
	f := &lns.IKEFailure{Reason: reason, Identity: t.identity, Detail: strings.ReplaceAll(t.detail, "%q", `"`)}
	if t.remote.IsValid() {
		f.Remote = netip.AddrPortFrom(t.remote, 0)
	}
	f.Profile, _ = profileOf(conn)
	switch {
	case f.Detail != "":
	case reason == lns.IKENoProposal, reason == lns.IKENoESP:
		what, key := "IKE", "ike_proposals"
		if reason == lns.IKENoESP {
			what, key = "ESP", "esp_proposals"
		}
		f.Detail = fmt.Sprintf("no %s proposal in common: it offers %s; we take %s; change it there, or add one to the profile's %s (legacy: true for old LACs)",
			what, orUnknown(t.theirs), orUnknown(t.ours), key)
	case reason == lns.IKENoConfig:
		f.Detail = fmt.Sprintf("no LAC profile takes the identity '%s' from there; see the profiles' remote_ids, auth and prefixes", t.identity)
	}
	return f
}

func orUnknown(s string) string {
	if s == "" {
		return "something that charon has not logged"
	}
	return s
}

// trace finds or makes the memory of an IKE SA. Lines of none (id 0) share nothing.
func (l *ikeLog) trace(now time.Duration, id uint32) *ikeTrace {
	if id == 0 {
		return &ikeTrace{at: now}
	}
	t := l.traces[id]
	if t == nil {
		if l.traces == nil {
			l.traces = map[uint32]*ikeTrace{}
		}
		l.trim()
		t = &ikeTrace{}
		l.traces[id] = t
	}
	t.at = now
	return t
}

// trim keeps the memory bounded. charon counts IKE SAs upwards, so the lower half is the older.
func (l *ikeLog) trim() {
	if len(l.traces) < maxTraces {
		return
	}
	var sum, n uint64
	for id := range l.traces {
		sum, n = sum+uint64(id), n+1
	}
	for id := range l.traces {
		if uint64(id) <= sum/n {
			delete(l.traces, id)
		}
	}
}

// cause says why an IKE SA or a CHILD_SA of it ended just now, as far as the log has told.
func (l *ikeLog) cause(now time.Duration, id uint32) (lns.SACause, string) {
	if t := l.traces[id]; t != nil && t.cause != "" && now-t.causeAt <= causeHolds {
		return t.cause, t.causeDetail
	}
	return "", ""
}

// clearCause forgets the end of one CHILD_SA, so that it does not explain the next one's.
func (l *ikeLog) clearCause(id uint32) {
	if t := l.traces[id]; t != nil {
		t.cause, t.causeDetail = "", ""
	}
}

// forget drops the memory of an IKE SA that is gone.
func (l *ikeLog) forget(id uint32) { delete(l.traces, id) }
