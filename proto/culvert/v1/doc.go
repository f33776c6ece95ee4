// Package culvertv1 is the management API of lnsd, generated from the .proto
// files beside it. Package ops serves it and alone translates between these
// types and those of lns; lnsctl is its client.
//
// After a change to a .proto file run `go generate ./proto/culvert/v1`; the
// plugins and buf itself are pinned in go.mod and need no network.
package culvertv1

//go:generate sh -c "cd ../.. && go tool buf lint && go tool buf generate"
