package ops

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
)

// invalid is INVALID_ARGUMENT. The message begins with the field's name and
// says what would be right.
func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// nodeError is what a client is told when the node could not do what was
// asked for after the request itself was found good.
func nodeError(err error) error {
	if _, ok := status.FromError(err); ok {
		return err // nil, or made here
	}
	switch {
	case errors.Is(err, lns.ErrNoProfile), errors.Is(err, lns.ErrNoTunnel), errors.Is(err, lns.ErrNoSession):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, lns.ErrProfileConflict):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Errorf(codes.Internal, "the node could not do it: %v", err)
}
