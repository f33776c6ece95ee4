package ops

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	culvertv1 "culvert/proto/culvert/v1"
)

func letters(s *string) string { return *s }

func TestPagesHaveEveryItemOnce(t *testing.T) {
	var items []string
	for i := range 23 {
		items = append(items, fmt.Sprintf("k%03d", i))
	}
	filter := &culvertv1.ListTunnelsRequest{Lac: "north"}
	for _, size := range []uint32{1, 2, 22, 23, 24, 100} {
		var got []string
		token := ""
		for calls := 0; ; calls++ {
			p, err := parsePage(size, token, filter)
			if err != nil {
				t.Fatal(err)
			}
			var part []string
			part, token = cut(p, items, letters)
			got = append(got, part...)
			if token == "" {
				break
			}
			if len(part) != int(size) || calls > 30 {
				t.Fatalf("size %d: page %d has %d items and a token", size, calls, len(part))
			}
		}
		if !slices.Equal(got, items) {
			t.Errorf("size %d: got %v", size, got)
		}
	}
}

func TestPagesWhileItemsComeAndGo(t *testing.T) {
	filter := &culvertv1.ListTunnelsRequest{}
	p, err := parsePage(2, "", filter)
	if err != nil {
		t.Fatal(err)
	}
	_, token := cut(p, []string{"b", "d", "f", "h"}, letters)
	p, err = parsePage(2, token, filter)
	if err != nil {
		t.Fatal(err)
	}
	// d, the last one seen, is gone; a, c and e are new.
	part, _ := cut(p, []string{"a", "b", "c", "e", "f", "h"}, letters)
	if !slices.Equal(part, []string{"e", "f"}) {
		t.Errorf("after d came %v", part)
	}
}

func TestParsePage(t *testing.T) {
	north := &culvertv1.ListTunnelsRequest{Lac: "north"}
	first, err := parsePage(0, "", north)
	if err != nil || first.size != defaultPage {
		t.Fatalf("size 0: %+v, %v", first, err)
	}
	if p, _ := parsePage(1_000_000, "", north); p.size != maxPage {
		t.Errorf("size is not capped: %d", p.size)
	}
	for name, c := range map[string]struct {
		token  string
		filter *culvertv1.ListTunnelsRequest
	}{
		"not base64":    {"!!!", north},
		"too short":     {"AAAA", north},
		"other filters": {first.token("x"), &culvertv1.ListTunnelsRequest{Lac: "south"}},
	} {
		if _, err := parsePage(1, c.token, c.filter); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPageToken holds that no token breaks a listing.
func FuzzPageToken(f *testing.F) {
	filter := &culvertv1.ListTunnelsRequest{}
	p, _ := parsePage(2, "", filter)
	f.Add(p.token("b"))
	f.Add("")
	f.Add("AAAAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := parsePage(2, token, filter)
		if err != nil {
			return
		}
		if part, _ := cut(p, []string{"a", "b", "c"}, letters); len(part) > 2 {
			t.Errorf("page of %d", len(part))
		}
	})
}
