// Package proc is what the suites that run whole programs share: namespaces of
// their own, servers that are started, waited for and ended, and how much of
// the machine a process has used.
package proc
