// Package interop runs a LAC and a subscriber that nobody here wrote
// (xl2tpd and pppd, in a guest with a kernel that has PPP) against lnsd with FreeRADIUS
// and PostgreSQL, and checks a call from SCCRQ to the last accounting octet. It is all
// tests: `make interop` runs them as root and prints a table of what was tried.
//
// The whole run happens in namespaces of its own, in which the test is process 1, so
// nothing it starts or changes is left behind, however it ends.
package interop
