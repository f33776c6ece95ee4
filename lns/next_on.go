//go:build nextversion

package lns

const nextVersion = 1
