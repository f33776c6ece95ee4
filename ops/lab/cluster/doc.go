// Package cluster breaks a cluster of two lnsd on one PostgreSQL, in network
// namespaces: nodes killed, frozen, and cut off from the database, from each
// other, and from both; the database killed, stalled, without disk space, and
// failed over. It counts the packets that each node sends from each service
// address: at no moment do two answer.
package cluster
