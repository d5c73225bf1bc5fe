package signing_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
	"github.com/youmark/pkcs8"
)

func TestKeySurvivesItsFile(t *testing.T) {
	t.Parallel()
	key, err := signing.GenerateKey()
	check(t, err)
	for name, pass := range map[string][]byte{"plain": nil, "sealed": []byte("correct horse")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := key.MarshalPEM(pass)
			check(t, err)
			if got := signing.Encrypted(text); got != (pass != nil) {
				t.Fatalf("Encrypted = %v", got)
			}
			if pass != nil && !bytes.HasPrefix(text, []byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----")) {
				t.Fatalf("cosign would not read %q", text[:50])
			}
			back, err := signing.ParseKey(text, pass)
			check(t, err)
			if back.ID() != key.ID() || !bytes.Equal(back.PublicPEM(), key.PublicPEM()) {
				t.Fatal("another key came back")
			}
		})
	}
}

func TestKeyIDIsCosignsHint(t *testing.T) {
	t.Parallel()
	key := keyOf(t, "alice")
	block, _ := pem.Decode(key.PublicPEM())
	sum := sha256.Sum256(block.Bytes)
	if want := base64.StdEncoding.EncodeToString(sum[:]); key.ID() != want {
		t.Fatalf("ID %q, want %q", key.ID(), want)
	}
}

func TestParseKeyForeignForms(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	sec1, err := x509.MarshalECPrivateKey(private)
	check(t, err)
	openssl, err := pkcs8.MarshalPrivateKey(private, []byte("pw"), nil)
	check(t, err)
	own, err := signing.GenerateKey()
	check(t, err)
	sealed, err := own.MarshalPEM([]byte("pw"))
	check(t, err)
	for name, text := range map[string][]byte{
		"sec1":       pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"pkcs8 pbes": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: openssl}),
		"cosign":     bytes.ReplaceAll(sealed, []byte("SIGSTORE"), []byte("COSIGN")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := signing.ParseKey(text, []byte("pw"))
			check(t, err)
		})
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	sealed, err := keyOf(t, "alice").MarshalPEM([]byte("right"))
	check(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	pkcs8PEM := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		check(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	for name, c := range map[string]struct {
		text, pass []byte
		code       abi.Code
		says       string
	}{
		"nothing":           {nil, nil, abi.Invalid, "no PEM block"},
		"no passphrase":     {sealed, nil, abi.Invalid, "encrypted and no passphrase"},
		"wrong passphrase":  {sealed, []byte("wrong"), abi.Invalid, "wrong passphrase"},
		"empty passphrase":  {sealed, []byte{}, abi.Invalid, "wrong passphrase"},
		"public key":        {keyOf(t, "alice").PublicPEM(), nil, abi.Invalid, "public key"},
		"P-384":             {pkcs8PEM(p384), nil, abi.Unsupported, "ECDSA P-384"},
		"RSA":               {pkcs8PEM(rsaKey), nil, abi.Unsupported, "RSA 2048"},
		"Ed25519":           {pkcs8PEM(edKey), nil, abi.Unsupported, "Ed25519"},
		"a certificate":     {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}), nil, abi.Unsupported, "CERTIFICATE"},
		"damaged":           {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), nil, abi.Invalid, "read signing key"},
		"old encrypted PEM": {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}}), []byte("x"), abi.Unsupported, "old-style"},
		"huge":              {bytes.Repeat([]byte("x"), 1<<17), nil, abi.TooLarge, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := signing.ParseKey(c.text, c.pass)
			wantCode(t, err, c.code)
			if !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%q does not say %q", err, c.says)
			}
		})
	}
}

func TestSaveIsPrivateAndNeverOverwrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.key")
	alice := keyOf(t, "alice")
	check(t, alice.Save(path, nil))
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %04o", info.Mode().Perm())
	}
	wantCode(t, keyOf(t, "bob").Save(path, nil), abi.Conflict)
	back, err := signing.LoadKey(path, nil)
	check(t, err)
	if back.ID() != alice.ID() {
		t.Fatal("the first key is gone")
	}
	check(t, alice.SavePublic(path+".pub"))
	wantCode(t, alice.SavePublic(path+".pub"), abi.Conflict)
	wantCode(t, alice.Save(filepath.Join(path, "below a file"), nil), abi.Unavailable)
	wantCode(t, alice.Save(filepath.Join(t.TempDir(), "no", "folder"), nil), abi.NotFound)
}

func TestLoadKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open, sealed := filepath.Join(dir, "open.key"), filepath.Join(dir, "sealed.key")
	check(t, keyOf(t, "alice").Save(open, nil))
	check(t, keyOf(t, "alice").Save(sealed, []byte("pw")))
	never := func() ([]byte, error) { t.Error("asked for a passphrase without need"); return nil, nil }
	_, err := signing.LoadKey(open, never)
	check(t, err)
	_, err = signing.LoadKey(sealed, func() ([]byte, error) { return []byte("pw"), nil })
	check(t, err)
	_, err = signing.LoadKey(sealed, nil)
	wantCode(t, err, abi.Invalid)
	_, err = signing.LoadKey(sealed, func() ([]byte, error) { return nil, errors.New("no terminal") })
	wantCode(t, err, abi.Invalid)
	_, err = signing.LoadKey(filepath.Join(dir, "absent"), nil)
	wantCode(t, err, abi.NotFound)

	check(t, os.Chmod(open, 0o640))
	_, err = signing.LoadKey(open, nil)
	wantCode(t, err, abi.Denied)
	if hint := abi.HintOf(err); hint != "chmod 600 "+open {
		t.Fatalf("hint %q", hint)
	}
}
