package ops

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

// lacService is culvert.v1.LACService.
type lacService struct {
	culvertv1.UnimplementedLACServiceServer
	node Node
	// mu makes looking and putting one step for those who come through here.
	mu sync.Mutex
}

// maxName bounds a profile's name: it is a metric label and a column.
const maxName = 64

func (s *lacService) ListLACs(context.Context, *culvertv1.ListLACsRequest) (*culvertv1.ListLACsResponse, error) {
	list := s.node.LACs()
	slices.SortFunc(list, func(a, b lns.LACProfile) int { return strings.Compare(a.Name, b.Name) })
	uses := lacUses(s.node.Tunnels())
	resp := &culvertv1.ListLACsResponse{}
	for i := range list {
		resp.Lacs = append(resp.Lacs, uses.fill(lacProto(&list[i])))
	}
	return resp, nil
}

func (s *lacService) GetLAC(_ context.Context, req *culvertv1.GetLACRequest) (*culvertv1.GetLACResponse, error) {
	p, err := s.find("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return &culvertv1.GetLACResponse{Lac: lacUses(s.node.Tunnels()).fill(lacProto(&p))}, nil
}

func (s *lacService) AddLAC(_ context.Context, req *culvertv1.AddLACRequest) (*culvertv1.AddLACResponse, error) {
	name := req.GetLac().GetName()
	if err := checkName(name); err != nil {
		return nil, err
	}
	p := lns.LACProfile{Name: name}
	for _, f := range lacFields {
		if err := f.set(&p, req.GetLac()); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.find("lac.name", name); err == nil {
		return nil, status.Errorf(codes.AlreadyExists, "lac.name: there is a LAC profile %q; change that one or choose another name", name)
	}
	if err := s.put(p); err != nil {
		return nil, err
	}
	return &culvertv1.AddLACResponse{Lac: lacProto(&p)}, nil
}

func (s *lacService) ChangeLAC(_ context.Context, req *culvertv1.ChangeLACRequest) (*culvertv1.ChangeLACResponse, error) {
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return nil, invalid("update_mask: name the fields to change, e.g. \"hello\"")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.find("lac.name", req.GetLac().GetName())
	if err != nil {
		return nil, err
	}
	for _, path := range req.GetUpdateMask().GetPaths() {
		known, err := changeField(&p, req.GetLac(), path)
		if !known {
			return nil, invalid("update_mask: %q cannot be changed; these can: %s", path, lacFieldNames())
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.put(p); err != nil {
		return nil, err
	}
	return &culvertv1.ChangeLACResponse{Lac: lacUses(s.node.Tunnels()).fill(lacProto(&p))}, nil
}

func (s *lacService) RemoveLAC(_ context.Context, req *culvertv1.RemoveLACRequest) (*culvertv1.RemoveLACResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.find("name", req.GetName()); err != nil {
		return nil, err
	}
	if err := s.node.DeleteLAC(req.GetName()); err != nil {
		return nil, nodeError(err)
	}
	return &culvertv1.RemoveLACResponse{}, nil
}

func (s *lacService) find(field, name string) (lns.LACProfile, error) {
	if name == "" {
		return lns.LACProfile{}, invalid("%s: say which LAC profile is meant", field)
	}
	for _, p := range s.node.LACs() {
		if p.Name == name {
			return p, nil
		}
	}
	return lns.LACProfile{}, status.Errorf(codes.NotFound, "%s: there is no LAC profile %q", field, name)
}

func (s *lacService) put(p lns.LACProfile) error {
	if err := p.Validate(); err != nil {
		return invalid("lac.%s", strings.Join(errorLines(err), "; lac."))
	}
	return nodeError(s.node.PutLAC(p))
}

// errorLines takes errors.Join apart.
func errorLines(err error) (lines []string) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	for _, e := range joined.Unwrap() {
		lines = append(lines, e.Error())
	}
	return lines
}

func checkName(name string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, bad) {
		return invalid("lac.name: %q is no name; use 1 to %d letters, digits, \"-\", \"_\" and \".\"", name, maxName)
	}
	return nil
}

func lacFieldNames() string {
	names := make([]string, len(lacFields))
	for i, f := range lacFields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// lacUse counts what the LACs of a profile have.
type lacUse struct{ tunnels, sessions uint32 }

type lacUsage map[string]lacUse

func lacUses(tunnels []lns.TunnelInfo) lacUsage {
	uses := make(lacUsage)
	for i := range tunnels {
		u := uses[tunnels[i].Profile]
		u.tunnels++
		u.sessions += uint32(tunnels[i].Sessions)
		uses[tunnels[i].Profile] = u
	}
	return uses
}

func (u lacUsage) fill(l *culvertv1.LAC) *culvertv1.LAC {
	l.Tunnels, l.Sessions = u[l.GetName()].tunnels, u[l.GetName()].sessions
	return l
}
