package ops

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"google.golang.org/protobuf/proto"
)

// The sizes of pages. Every page costs the node a walk over all sessions, so
// a client that wants all of them does well to ask for few large pages.
const (
	defaultPage = 1000
	maxPage     = 20_000
)

// page is the request for a part of a sorted listing. A token holds the key
// of the last item of the page before, so that nothing is listed twice when
// items come and go, and a sum of the filters that it is good for.
type page struct {
	size  int
	after string
	sum   uint32
}

// parsePage reads page_size and page_token. filter is the request without them.
func parsePage(size uint32, token string, filter proto.Message) (page, error) {
	p := page{size: int(min(size, maxPage)), sum: filterSum(filter)}
	if size == 0 {
		p.size = defaultPage
	}
	if token == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 5 {
		return p, invalid("page_token: not one that this node gave; begin again without one")
	}
	if binary.BigEndian.Uint32(b) != p.sum {
		return p, invalid("page_token: belongs to other filters; repeat those of the first page, or begin again without one")
	}
	p.after = string(b[4:])
	return p, nil
}

func (p page) token(last string) string {
	b := binary.BigEndian.AppendUint32(nil, p.sum)
	return base64.RawURLEncoding.EncodeToString(append(b, last...))
}

// cut takes the page out of items, which are sorted by key, and gives the
// token of the next, empty when there is none.
func cut[T any](p page, items []T, key func(*T) string) ([]T, string) {
	first := 0
	if p.after != "" {
		first, _ = slices.BinarySearchFunc(items, p.after, func(t T, after string) int {
			if key(&t) <= after {
				return -1
			}
			return 1
		})
	}
	items = items[first:]
	if len(items) <= p.size {
		return items, ""
	}
	return items[:p.size], p.token(key(&items[p.size-1]))
}

func filterSum(m proto.Message) uint32 {
	h := fnv.New32a()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err == nil {
		h.Write(b)
	}
	return h.Sum32()
}
