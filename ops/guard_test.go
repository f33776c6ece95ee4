package ops

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"culvert/lns"
	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// TestEveryMethodHasARole keeps the table of roles true to the services.
func TestEveryMethodHasARole(t *testing.T) {
	s, err := New(Config{}, opstest.NewNode())
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			known[name] = true
			_, listed := methodRoles[name]
			if ours := strings.HasPrefix(service, "culvert."); listed != ours {
				t.Errorf("%s: in methodRoles %v, ours %v", name, listed, ours)
			}
			changes := !strings.HasPrefix(m.Name, "Get") && !strings.HasPrefix(m.Name, "List") && !strings.HasPrefix(m.Name, "Watch") && !strings.HasPrefix(m.Name, "Trace")
			if listed && (methodRoles[name] == RoleOperator) != changes {
				t.Errorf("%s wants role %v", name, methodRoles[name])
			}
		}
	}
	for name := range methodRoles {
		if !known[name] {
			t.Errorf("%s is served by nobody", name)
		}
	}
	if r := roleFor("/some.other.Service/Method"); r != RoleOperator {
		t.Errorf("an unknown method wants %v", r)
	}
}

// syncBuffer may be written while it is read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// await waits for a line that a server writes after its client has gone on.
func (s *syncBuffer) await(t *testing.T, words string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(s.String(), words); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q: %s", words, s)
		}
	}
}

func TestOperatorsAreLoggedWithoutSecrets(t *testing.T) {
	cfg := socketConfig(t)
	log := &syncBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	start(t, cfg, opstest.Sample(1))
	lacs := culvertv1.NewLACServiceClient(connect(t, cfg.Socket))
	if _, err := lacs.ListLACs(t.Context(), &culvertv1.ListLACsRequest{}); err != nil {
		t.Fatal(err)
	}
	if log.String() != "" {
		t.Errorf("looking is logged: %s", log)
	}
	if _, err := lacs.AddLAC(t.Context(), &culvertv1.AddLACRequest{Lac: &culvertv1.LAC{Name: "east", Secret: "hushhush"}}); err != nil {
		t.Fatal(err)
	}
	_, err := lacs.ChangeLAC(t.Context(), &culvertv1.ChangeLACRequest{Lac: &culvertv1.LAC{Name: "gone", Secret: "hushhush"}})
	wantStatus(t, err, codes.InvalidArgument)
	got := log.String()
	for _, want := range []string{"AddLAC", "uid=", "pid=", `name:\"east\"`, "code=OK", "level=WARN", "code=InvalidArgument"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if strings.Contains(got, "hushhush") {
		t.Errorf("the secret is in the log: %s", got)
	}
}

// panicking panics when its tunnels are looked at or it is watched.
type panicking struct{ *opstest.Node }

func (panicking) Tunnels() []lns.TunnelInfo              { panic("broken") }
func (panicking) Watch(context.Context) <-chan lns.Event { panic("broken") }

func TestAPanicIsOneCallsError(t *testing.T) {
	cfg := socketConfig(t)
	log := &syncBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	start(t, cfg, panicking{opstest.Sample(1)})
	conn := connect(t, cfg.Socket)
	_, err := culvertv1.NewTunnelServiceClient(conn).ListTunnels(t.Context(), &culvertv1.ListTunnelsRequest{})
	wantStatus(t, err, codes.Internal, "log")
	stream, err := culvertv1.NewSessionServiceClient(conn).WatchEvents(t.Context(), &culvertv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Internal, "log")
	if _, err := culvertv1.NewNodeServiceClient(conn).GetStatus(t.Context(), &culvertv1.GetStatusRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if !strings.Contains(log.String(), "broken") || !strings.Contains(log.String(), "guard_test.go") {
		t.Errorf("the log has no stack: %s", log)
	}
}

func TestHealthAndReflection(t *testing.T) {
	_, conn := serveSample(t, 0)
	resp, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || resp.Status != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", resp, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	names := got.GetListServicesResponse().String()
	for _, want := range []string{"culvert.v1.LACService", "culvert.v1.TunnelService", "culvert.v1.SessionService", "culvert.v1.NodeService"} {
		if !strings.Contains(names, want) {
			t.Errorf("reflection does not list %s: %s", want, names)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	drainStream(stream)
}

// drainStream reads what is left, so that the call ends.
func drainStream(stream grpc.BidiStreamingClient[reflectionv1.ServerReflectionRequest, reflectionv1.ServerReflectionResponse]) {
	for {
		if _, err := stream.Recv(); err != nil {
			return
		}
	}
}
