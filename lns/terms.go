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
	// said, where renamed is set, is the name that the subscriber gave and that
	// AAA put another in place of.
	said    string
	renamed bool
}

// noTerms are those of every grant that says nothing of the kind.
var noTerms = &terms{}

// termsOf takes the terms of a grant to who said a name, and is accounted as user.
func termsOf(g *aaa.Grant, user, said string) *terms {
	renamed := user != said
	if len(g.Routes)+len(g.Class) == 0 && g.SessionTimeout == 0 && g.IdleTimeout == 0 && g.Interim == 0 && !renamed {
		return noTerms
	}
	t := &terms{routes: g.Routes, class: g.Class, session: g.SessionTimeout, idle: g.IdleTimeout, interim: g.Interim, renamed: renamed}
	if renamed {
		t.said = said
	}
	return t
}

// said is the name that the subscriber gave.
func (s *session) said() string {
	if s.terms != nil && s.terms.renamed {
		return s.terms.said
	}
	return s.who.User
}
