// Package ipsec has no code but its tests: L2TP over IPsec (RFC 3193) with real
// parts. xl2tpd and pppd behind strongSwan call lnsd, which runs beside another strongSwan, all of
// them in namespaces of one guest whose kernel has ESP (package guest). Run by
// `make interop`; it prints a table of its own.
package ipsec
