package mschap

import (
	"encoding/hex"
	"testing"
)

// The vectors of RFC 1320 appendix A.5.
func TestMD4(t *testing.T) {
	for msg, want := range map[string]string{
		"":                           "31d6cfe0d16ae931b73c59d7e0c089c0",
		"a":                          "bde52cb31de33e46245e05fbdbd6fb24",
		"abc":                        "a448017aaf21d8525fc10ae87aa6729d",
		"message digest":             "d9130a8164549fe818874806e1c7014b",
		"abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789":                   "043f8582f241db351ce627e153e7f0e4",
		"12345678901234567890123456789012345678901234567890123456789012345678901234567890": "e33b4ddc9c38f2199c3e7b164fcc0536",
	} {
		if got := md4Sum([]byte(msg)); hex.EncodeToString(got[:]) != want {
			t.Errorf("MD4(%q) = %x, want %s", msg, got, want)
		}
	}
}

// The vectors of RFC 2759 section 9.2.
func TestRFC2759(t *testing.T) {
	const user, password = "User", "clientPass"
	auth := [16]byte(unhex(t, "5B5D7C7D7B3F2F3E3C2C602132262628"))
	peer := [16]byte(unhex(t, "21402324255E262A28295F2B3A337C7E"))
	if got := challengeHash(auth, peer, user); hex.EncodeToString(got[:]) != "d02e4386bce91226" {
		t.Errorf("challenge hash %x", got)
	}
	if got := NTPasswordHash(password); hex.EncodeToString(got[:]) != "44ebba8d5312b8d611474411f56989ae" {
		t.Errorf("password hash %x", got)
	}
	nt := NTResponse(auth, peer, user, password)
	if got := hex.EncodeToString(nt[:]); got != "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df" {
		t.Errorf("NT response %s", got)
	}
	if got := AuthenticatorResponse(auth, peer, nt, user, password); got != "S=407A5589115FD0D6209F510FE9C04566932CDA56" {
		t.Errorf("authenticator response %s", got)
	}
	if got := NTResponse(auth, peer, `DOMAIN\User`, password); got != nt {
		t.Errorf("with a domain: NT response %x", got)
	}
}

// All 56 bits of a key count, the last one too (RFC 2759 section 8.6).
func TestDESKeySpreading(t *testing.T) {
	var a, b [8]byte
	src := unhex(t, "0102030405060708")
	desEncrypt(a[:], src, [7]byte(unhex(t, "fc0eb76fc1a95d")))
	desEncrypt(b[:], src, [7]byte(unhex(t, "fc0eb76fc1a95c")))
	if a == b {
		t.Error("the last bit of the key does not count")
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
