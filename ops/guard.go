package ops

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	culvertv1 "culvert/proto/culvert/v1"
)

// methodRoles says what role each call wants. A call that is not here wants
// the operator's; the services in openServices want none.
var methodRoles = map[string]Role{
	culvertv1.LACService_ListLACs_FullMethodName:               RoleViewer,
	culvertv1.LACService_GetLAC_FullMethodName:                 RoleViewer,
	culvertv1.LACService_AddLAC_FullMethodName:                 RoleOperator,
	culvertv1.LACService_ChangeLAC_FullMethodName:              RoleOperator,
	culvertv1.LACService_RemoveLAC_FullMethodName:              RoleOperator,
	culvertv1.TunnelService_ListTunnels_FullMethodName:         RoleViewer,
	culvertv1.TunnelService_GetTunnel_FullMethodName:           RoleViewer,
	culvertv1.TunnelService_StopTunnel_FullMethodName:          RoleOperator,
	culvertv1.SessionService_ListSessions_FullMethodName:       RoleViewer,
	culvertv1.SessionService_GetSession_FullMethodName:         RoleViewer,
	culvertv1.SessionService_WatchEvents_FullMethodName:        RoleViewer,
	culvertv1.SessionService_TraceSessions_FullMethodName:      RoleViewer,
	culvertv1.SessionService_DisconnectSessions_FullMethodName: RoleOperator,
	culvertv1.SessionService_PlaceCall_FullMethodName:          RoleOperator,
	culvertv1.SessionService_RequestSpeed_FullMethodName:       RoleOperator,
	culvertv1.NodeService_GetStatus_FullMethodName:             RoleViewer,
	culvertv1.NodeService_Drain_FullMethodName:                 RoleOperator,
	culvertv1.ClusterService_GetClusterStatus_FullMethodName:   RoleViewer,
	culvertv1.ClusterService_MoveAddresses_FullMethodName:      RoleOperator,
	culvertv1.NodeService_Undrain_FullMethodName:               RoleOperator,
	culvertv1.NodeService_Shutdown_FullMethodName:              RoleOperator,
	culvertv1.IPsecService_GetIPsecStatus_FullMethodName:       RoleViewer,
	culvertv1.IPsecService_ListSAs_FullMethodName:              RoleViewer,
	culvertv1.IPsecService_ListIKEFailures_FullMethodName:      RoleViewer,
	culvertv1.IPsecService_RekeySA_FullMethodName:              RoleOperator,
	culvertv1.IPsecService_StopSA_FullMethodName:               RoleOperator,
}

// openServices want no role of a client with a valid certificate: load
// balancers ask for health, and the reflection shows only the public API.
var openServices = []string{"/grpc.health.v1.Health/", "/grpc.reflection."}

func roleFor(method string) Role {
	for _, s := range openServices {
		if strings.HasPrefix(method, s) {
			return RoleNone
		}
	}
	if r, ok := methodRoles[method]; ok {
		return r
	}
	return RoleOperator
}

// guard lets calls in or not, logs what operators do, and survives a panic.
type guard struct {
	rules []RoleRule
	log   *slog.Logger
}

// admit says who calls, or why it may not.
func (g *guard) admit(ctx context.Context, method string) (client, error) {
	c := identify(ctx, g.rules)
	want := roleFor(method)
	if c.role >= want {
		return c, nil
	}
	g.log.Warn("call refused", "method", method, "client", c.who, "role", c.role.String(), "needs", want.String())
	return c, status.Errorf(codes.PermissionDenied,
		"%s needs the %s role; certificate %q has role %s: have a rule for its CN or OU added to roles in the node's configuration",
		method, want, c.who, c.role)
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	c, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer g.done(info.FullMethod, c, req, &err)
	return next(ctx, req)
}

func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	c, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer g.done(info.FullMethod, c, nil, &err)
	return next(srv, ss)
}

// done is deferred: it makes an error of a panic, and logs operators' calls.
func (g *guard) done(method string, c client, req any, err *error) {
	if p := recover(); p != nil {
		g.log.Error("call panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "a defect in lnsd broke this call; its log has the details")
	}
	if roleFor(method) != RoleOperator {
		return
	}
	level := slog.LevelInfo
	if *err != nil {
		level = slog.LevelWarn
	}
	g.log.Log(context.Background(), level, "operator call", "method", method, "client", c.who,
		"request", redact(req), "code", status.Code(*err).String())
}
