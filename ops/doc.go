// Package ops lets people and programs look at a node and act on it: the
// gRPC API of culvert/v1 on TCP with TLS and on a unix socket, and HTTP with
// Prometheus metrics, health and profiling.
//
// It alone translates between the node's Go types and protobuf, so that
// package lns never sees a generated type. What it needs of a node is the
// interface Node; what other rooms count comes in through Sources.
package ops
