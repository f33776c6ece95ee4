// Package scale proves that lnsd carries many sessions, and measures what they
// cost: lacsim in a network namespace of its own against lnsd with PostgreSQL and
// FreeRADIUS, and with the responder inside lnsd, and the same calls against
// Debian's l2tpns beside it. It is all tests. As root they run in a reduced size;
// `make bench` runs them in full (CULVERT_SCALE=full) and keeps the results in out/scale.
//
// # What is measured
//
// CPU is a process's time on processors, user and system. That of a call is of
// everything lnsd does for it: set-up, journal, write-behind to PostgreSQL,
// accounting Start and Stop and their acknowledgement, tear-down; of the case
// with packets, a ping through each session as well. Memory is the growth from
// an lnsd without sessions to one with all of them up: the heap after a garbage
// collection, and the resident memory as the kernel sees it before one.
package scale
