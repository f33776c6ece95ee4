package ops

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	culvertv1 "culvert/proto/culvert/v1"
)

// health says whether calls should be sent to this node, and what else
// somebody should look at.
type health struct {
	notReady, warnings []string
}

// checkHealth asks all sources. A database or an accounting server that is
// away only warns: sessions go on, and new ones are taken.
func checkHealth(cfg *Config, draining bool, listeners int) (h health) {
	if draining {
		h.notReady = append(h.notReady, "draining: new tunnels and calls are refused")
	}
	if listeners == 0 {
		h.notReady = append(h.notReady, "no L2TP listener is open")
	}
	src := &cfg.Sources
	if src.NotReady != nil {
		h.notReady = append(h.notReady, src.NotReady()...)
	}
	h.warnings = append(h.warnings, writerWarnings(src, cfg.BehindWarning)...)
	h.warnings = append(h.warnings, radiusWarnings(src)...)
	if src.Warnings != nil {
		h.warnings = append(h.warnings, src.Warnings()...)
	}
	return h
}

func writerWarnings(src *Sources, limit time.Duration) (w []string) {
	if src.Writer != nil {
		if s := src.Writer(); s.Lag > limit {
			w = append(w, fmt.Sprintf("the database is %v behind (%d changes wait)%s", s.Lag.Round(time.Second), s.Pending, because(s.LastError)))
		}
	}
	if src.Outbox != nil {
		if s := src.Outbox(); s.Away {
			w = append(w, fmt.Sprintf("no accounting server answers (%d records wait)", s.Pending))
		}
	}
	return w
}

func because(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}

// radiusWarnings names each use for which no server is up, and each server that is not.
func radiusWarnings(src *Sources) (w []string) {
	if src.RADIUS == nil {
		return nil
	}
	up := map[string]int{}
	servers := src.RADIUS()
	for _, s := range servers {
		if s.Alive {
			up[s.Use]++
		}
	}
	for _, s := range servers {
		if s.Alive {
			continue
		}
		note := ""
		if up[s.Use] == 0 {
			note = ", and no other is up"
		}
		w = append(w, fmt.Sprintf("RADIUS server %s (%s) does not answer%s", s.Server, s.Use, note))
	}
	return w
}

// nodeService is culvert.v1.NodeService.
type nodeService struct {
	culvertv1.UnimplementedNodeServiceServer
	node Node
	cfg  *Config
}

func (s *nodeService) GetStatus(context.Context, *culvertv1.GetStatusRequest) (*culvertv1.GetStatusResponse, error) {
	return &culvertv1.GetStatusResponse{Status: s.status()}, nil
}

func (s *nodeService) Drain(ctx context.Context, _ *culvertv1.DrainRequest) (*culvertv1.DrainResponse, error) {
	s.node.Drain(true)
	if err := s.takeOver(ctx, false); err != nil {
		return nil, err
	}
	return &culvertv1.DrainResponse{Status: s.status()}, nil
}

func (s *nodeService) Undrain(ctx context.Context, _ *culvertv1.UndrainRequest) (*culvertv1.UndrainResponse, error) {
	s.node.Drain(false)
	if err := s.takeOver(ctx, true); err != nil {
		return nil, err
	}
	return &culvertv1.UndrainResponse{Status: s.status()}, nil
}

func (s *nodeService) Shutdown(_ context.Context, r *culvertv1.ShutdownRequest) (*culvertv1.ShutdownResponse, error) {
	if s.cfg.Shutdown == nil {
		return nil, status.Error(codes.Unimplemented, "this node cannot be ended by its API: stop its service")
	}
	st := s.status()
	s.cfg.Shutdown(r.GetEndSessions())
	return &culvertv1.ShutdownResponse{Status: st}, nil
}

// takeOver says whether the node takes addresses over, where it is in a cluster.
func (s *nodeService) takeOver(ctx context.Context, on bool) error {
	if s.cfg.Cluster == nil {
		return nil
	}
	return nodeError(s.cfg.Cluster.SetDraining(ctx, !on))
}

func (s *nodeService) status() *culvertv1.Status {
	st := s.node.Status()
	h := checkHealth(s.cfg, st.Draining, len(st.Listeners))
	p := &culvertv1.Status{
		Node: st.Node, Version: st.Version, Started: timestamp(st.Started), Epoch: st.Epoch,
		Draining: st.Draining, Shards: uint32(st.Shards), Plane: st.Plane,
		Tunnels: uint32(st.Tunnels), Sessions: uint32(st.Sessions), SettingUp: uint32(st.SettingUp),
		Ready: len(h.notReady) == 0, NotReady: h.notReady, Warnings: h.warnings,
	}
	for _, l := range st.Listeners {
		p.Listeners = append(p.Listeners, l.String())
	}
	return p
}
