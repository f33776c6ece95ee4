package l2tp

import "time"

// A tunnel that is restored from a copy which was written behind its original
// (SavedTunnel.Behind) may have numbers that both ends have left behind. The
// peer tells how far it is: by the Nr of its answer to the first HELLO, and, for
// what it sends, by sending again what it has not seen acknowledged.

// maxBehind is how far the numbers of a restored tunnel may be behind.
const maxBehind = 1024

// behind is what is not known yet of a restored tunnel's numbers.
type behind struct {
	// ns: the peer may have acknowledged more than was saved; nr: it may have had
	// more acknowledged.
	ns, nr bool
}

// catchUp takes the numbers of what is queued up to where the peer's Nr says that they are.
func (c *Control) catchUp(nr uint16) {
	ahead := int16(nr - c.high)
	if !c.behind.ns || ahead <= 0 || ahead > maxBehind {
		return
	}
	c.una, c.high = c.una+uint16(ahead), nr
	c.behind.ns = false
}

// skipTo gives up waiting for messages before ns: the peer has sent ns, the
// first of those it has no acknowledgement of, again, so it has one of all before. They were
// acknowledged by the original.
func (c *Control) skipTo(now time.Duration, ns uint16) bool {
	if !c.behind.nr {
		return false
	}
	for early := range c.early {
		if int16(early-ns) < 0 {
			return false
		}
	}
	c.behind.nr = false
	c.earlyBytes -= len(c.early[ns].body)
	if delete(c.early, ns); len(c.early) == 0 {
		c.early = nil
	}
	c.nr = ns
	c.take(now)
	return true
}
