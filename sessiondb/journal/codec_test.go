package journal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// fullSession has every field at its limit.
func fullSession() sessiondb.Session {
	s := storetest.SessionOf(1)
	s.PeerID, s.CallSerial = math.MaxUint16, math.MaxUint32
	s.InOctets, s.OutOctets, s.InPackets, s.OutPackets = math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64
	s.LAC = netip.MustParseAddrPort("[fe80::1%eth0]:65535")
	s.Routes = append(s.Routes, netip.MustParsePrefix("::/0"), netip.MustParsePrefix("0.0.0.0/0"))
	s.Since, s.Updated = time.UnixMicro(0), time.UnixMicro(-1)
	return s
}

func TestSessionRoundTrip(t *testing.T) {
	for _, s := range []sessiondb.Session{{}, storetest.SessionOf(7), fullSession()} {
		got := sessiondb.Session{Key: s.Key}
		if err := decodeSession(appendSession(nil, &s), &got); err != nil {
			t.Fatal(err)
		}
		if !got.Equal(&s) {
			t.Errorf("%+v came back as\n%+v", s, got)
		}
	}
}

const (
	oldSession = "0103066e6f64652d31040307186e6f64652d312d30303030303030312d303030303030303109117573657231406973702e6578616d706c650b0977686f6c6573616c650d06cb007105a5060f0a30323033303030303031110b6973702e6578616d706c65120115046400000117050a0000081d18d0d887dba6fda5061b05000102ff011ce8071e8827200122042480d9a4c4c1fda506"
	oldTunnel  = "0103066e6f64652d310506cb000001a506060709056c61632d310b0977686f6c6573616c650c100e0110021280d281dca6fda506"
	oldCall    = "0103066e6f64652d310403"
	oldEntry   = "0103066e6f64652d31050973657373696f6e2d3107077b226e223a317d"
)

// TestOldRecords has records as version 1 wrote them when it was new. They
// must be readable for ever.
func TestOldRecords(t *testing.T) {
	session := storetest.SessionOf(1)
	entry, tunnel, call := storetest.EntryOf(1), storetest.TunnelOf(1), storetest.CallOf(1)
	older := tunnel
	older.State = nil // came later
	for name, c := range map[string]struct {
		record string
		check  func(b []byte) bool
	}{
		"session": {oldSession, func(b []byte) bool {
			got := sessiondb.Session{Key: session.Key}
			return decodeSession(b, &got) == nil && got.Equal(&session)
		}},
		"tunnel": {oldTunnel, func(b []byte) bool {
			got := sessiondb.Tunnel{Key: tunnel.Key}
			return decodeTunnel(b, &got) == nil && got.Equal(&older)
		}},
		"tunnel with state": {oldTunnel + "15040200ff01", func(b []byte) bool {
			got := sessiondb.Tunnel{Key: tunnel.Key}
			return decodeTunnel(b, &got) == nil && got.Equal(&tunnel)
		}},
		"call": {oldCall, func(b []byte) bool {
			got := sessiondb.Call{Key: call.Key}
			return decodeCall(b, &got) == nil && got == call
		}},
		"entry": {oldEntry, func(b []byte) bool {
			got := sessiondb.Entry{Seq: entry.Seq}
			return decodeEntry(b, &got) == nil && got.Equal(&entry)
		}},
	} {
		b, err := hex.DecodeString(c.record)
		if err != nil || !c.check(b) {
			t.Errorf("%s: %s is not what it was (%v)", name, c.record, err)
		}
	}
}

// TestNewerFields has fields that this version does not know.
func TestNewerFields(t *testing.T) {
	want := storetest.SessionOf(3)
	b := appendSession(nil, &want)
	b = appendUint(b, 500, 12345)
	b = appendBytes(b, 501, "something new")
	got := sessiondb.Session{Key: want.Key}
	if err := decodeSession(b, &got); err != nil || !got.Equal(&want) {
		t.Errorf("%+v, error %v", got, err)
	}
}

func TestBadRecords(t *testing.T) {
	good := appendSession(nil, &[]sessiondb.Session{storetest.SessionOf(3)}[0])
	for name, record := range map[string][]byte{
		"empty":           {},
		"version":         {2},
		"cut in a number": {version, 0x80},
		"no value":        {version, 2 << 1},
		"cut":             good[:len(good)-1],
		"too long":        {version, 1<<1 | 1, 200, 'a'},
		"huge length":     binary.AppendUvarint([]byte{version, 1<<1 | 1}, math.MaxUint64),
		"wrong kind":      appendUint([]byte{version}, 1, 5),
		"wrong kind too":  appendBytes([]byte{version}, 2, "x"),
		"text for a time": appendBytes([]byte{version}, 12, "x"),
		"out of range":    appendUint([]byte{version}, 2, 1<<16),
		"address":         appendBytes([]byte{version}, 10, "12345"),
		"prefix":          appendBytes([]byte{version}, 11, "\x01\x02\x03\x04\x21"),
	} {
		var s sessiondb.Session
		if err := decodeSession(record, &s); !errors.Is(err, sessiondb.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestBadKeys(t *testing.T) {
	good := appendSessionKey(nil, storetest.SessionOf(1).Key)
	for _, key := range [][]byte{nil, {5}, good[:len(good)-1], append(good, 0), {6, 1, 2, 3, 4, 5, 6, 7, 8}} {
		if _, err := parseSessionKey(key); !errors.Is(err, sessiondb.ErrCorrupt) {
			t.Errorf("%x: error %v", key, err)
		}
	}
	if _, err := parseEntryKey([]byte{1}); !errors.Is(err, sessiondb.ErrCorrupt) {
		t.Errorf("entry: error %v", err)
	}
	if _, _, err := parseObjectKey([]byte("kind")); !errors.Is(err, sessiondb.ErrCorrupt) {
		t.Errorf("object: error %v", err)
	}
}

func FuzzDecodeSession(f *testing.F) {
	for _, s := range []sessiondb.Session{{}, storetest.SessionOf(7), fullSession()} {
		f.Add(appendSession(nil, &s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again sessiondb.Session
		if decodeSession(b, &s) != nil {
			return
		}
		if err := decodeSession(appendSession(nil, &s), &again); err != nil || !again.Equal(&s) {
			t.Errorf("%+v came back as\n%+v, error %v", s, again, err)
		}
	})
}

func FuzzDecodeTunnel(f *testing.F) {
	for _, v := range []sessiondb.Tunnel{{}, storetest.TunnelOf(7)} {
		f.Add(appendTunnel(nil, &v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again sessiondb.Tunnel
		if decodeTunnel(b, &v) != nil {
			return
		}
		if err := decodeTunnel(appendTunnel(nil, &v), &again); err != nil || !again.Equal(&v) {
			t.Errorf("%+v came back as\n%+v, error %v", v, again, err)
		}
	})
}

func FuzzDecodeCall(f *testing.F) {
	c := storetest.CallOf(3)
	f.Add(appendCall(nil, &c))
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again sessiondb.Call
		if decodeCall(b, &v) != nil {
			return
		}
		if err := decodeCall(appendCall(nil, &v), &again); err != nil || again != v {
			t.Errorf("%+v came back as %+v, error %v", v, again, err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	e := storetest.EntryOf(1)
	f.Add(appendEntry(nil, &e))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again sessiondb.Entry
		if decodeEntry(b, &v) != nil {
			return
		}
		if err := decodeEntry(appendEntry(nil, &v), &again); err != nil || !again.Equal(&v) {
			t.Errorf("%+v came back as\n%+v, error %v", v, again, err)
		}
	})
}

func FuzzDecodeObject(f *testing.F) {
	f.Add(appendObject(nil, &sessiondb.Object{Payload: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again sessiondb.Object
		if decodeObject(b, &v) != nil {
			return
		}
		if err := decodeObject(appendObject(nil, &v), &again); err != nil || !again.Equal(&v) {
			t.Errorf("%+v came back as\n%+v, error %v", v, again, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(appendSessionKey(nil, storetest.SessionOf(1).Key))
	f.Add(appendSessionKey(nil, sessiondb.SessionKey{Tunnel: sessiondb.TunnelKey{Local: netip.MustParseAddrPort("[2001:db8::1]:1")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseSessionKey(b); err == nil && string(appendSessionKey(nil, k)) != string(b) {
			t.Errorf("%x is %v is %x", b, k, appendSessionKey(nil, k))
		}
	})
}

func FuzzParseMarker(f *testing.F) {
	f.Add(marker{epoch: 7, node: "a"}.text())
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseMarker(text); err == nil && m.text() != text {
			t.Errorf("%q is %q", text, m.text())
		}
	})
}
