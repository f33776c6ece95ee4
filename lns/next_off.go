//go:build !nextversion

package lns

// nextVersion is 1 in programs that tests of upgrades build with the tag nextversion: they write records
// of a version that does not exist yet, with a field that nobody knows.
const nextVersion = 0
