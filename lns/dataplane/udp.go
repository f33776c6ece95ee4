package dataplane

import "errors"

func newUDP(Config) (Transport, error) { return nil, errors.ErrUnsupported }
func newTUN(Config) (Core, error)      { return nil, errors.ErrUnsupported }
