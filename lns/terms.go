package lns

import (
	"net/netip"
	"time"

	"culvert/aaa"
)

// terms is what a session keeps of its grant as long as it lives: the rest
// was for its beginning. It is immutable.
type terms struct {
	routes []netip.Prefix
	class  [][]byte
	// session, idle and interim are 0 where the grant says nothing.
	session, idle, interim time.Duration
}

// noTerms are those of every grant that says nothing of the kind.
var noTerms = &terms{}

// termsOf takes a grant's terms.
func termsOf(g *aaa.Grant) *terms {
	if len(g.Routes)+len(g.Class) == 0 && g.SessionTimeout == 0 && g.IdleTimeout == 0 && g.Interim == 0 {
		return noTerms
	}
	return &terms{routes: g.Routes, class: g.Class, session: g.SessionTimeout, idle: g.IdleTimeout, interim: g.Interim}
}
