package archive_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/archive"
)

// overlapping is a zip whose two central entries point at the same local one.
func overlapping(t testing.TB) []byte {
	t.Helper()
	data := zipOf(t, item{name: "a", body: strings.Repeat("x", 1000)}, item{name: "b", body: strings.Repeat("x", 1000)})
	at := bytes.LastIndex(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[at+42:], 0)
	return data
}

// lying is a stored zip entry whose headers promise less than follows when inflated.
func lying(t testing.TB) []byte {
	t.Helper()
	data := zipOf(t, item{name: "a", body: strings.Repeat("x", 5000)})
	at := bytes.Index(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[at+24:], 10)
	binary.LittleEndian.PutUint32(data[at+16:], crc32.ChecksumIEEE([]byte(strings.Repeat("x", 10))))
	return data
}

func encrypted(t testing.TB) []byte {
	t.Helper()
	data := zipOf(t, item{name: "a", body: "x"})
	at := bytes.Index(data, []byte("PK\x01\x02"))
	data[at+8] |= 1
	return data
}

func many(n int) []item {
	items := make([]item, n)
	for i := range items {
		items[i] = item{name: fmt.Sprintf("f%05d", i)}
	}
	return items
}

func nest(t testing.TB, depth int) []byte {
	t.Helper()
	data := zipOf(t, item{name: "core.txt", body: "core"})
	for i := range depth - 1 {
		data = zipOf(t, item{name: fmt.Sprintf("level%d.zip", i), body: string(data)})
	}
	return data
}

// named is a tar whose real name stands in an extended header, in front of a harmless one.
func named(t testing.TB, format tar.Format, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: name, Mode: 0o644, Size: 1, Typeflag: tar.TypeReg, Format: format}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// kind is a tar of one entry of a type that is neither file nor folder.
func kind(t testing.TB, flag byte) []byte {
	t.Helper()
	data := tarOf(t, item{name: "a"})
	data[156] = flag
	copy(data[148:156], "        ")
	sum := 0
	for _, c := range data[:512] {
		sum += int(c)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// twoNames is a zip whose entry has another name in front of its bytes than in the list at the end, which is the one that counts.
func twoNames(t testing.TB, local, central string) []byte {
	t.Helper()
	data := zipOf(t, item{name: central, body: "x"})
	copy(data[30:], local)
	return data
}

// members is a gzip of many members, each of which is small.
func members(t testing.TB, n int) []byte {
	t.Helper()
	return bytes.Repeat(gzOf(t, make([]byte, 1<<20)), n)
}

// bz2 is eight mebibytes of zeros.
var bz2, _ = hex.DecodeString("425a6839314159265359a23d4b580040404080c00000040008200030cc0529a60100d8808078bb9229c2848511ea5ac0")

// hostile archives: each must be blocked for its reason, and leave nothing.
func hostile(t testing.TB) map[string]struct {
	data   []byte
	opt    archive.Options
	reason string
	code   abi.Code
} {
	t.Helper()
	type row = struct {
		data   []byte
		opt    archive.Options
		reason string
		code   abi.Code
	}
	rows := map[string]row{
		"symlink":                      {tarOf(t, item{name: "l", link: "/etc/passwd"}), archive.Options{}, archive.ReasonLink, abi.Denied},
		"symlink then through":         {tarOf(t, item{name: "l", link: "/tmp"}, item{name: "l/x", body: "x"}), archive.Options{}, archive.ReasonLink, abi.Denied},
		"zip symlink":                  {zipOf(t, item{name: "l", link: "../../x"}), archive.Options{}, archive.ReasonLink, abi.Denied},
		"hard link":                    {tarOf(t, item{name: "l", link: "/etc/passwd", hard: true}), archive.Options{}, archive.ReasonLink, abi.Denied},
		"device":                       {tarOf(t, item{name: "d", mode: fs.ModeDevice}), archive.Options{}, archive.ReasonDevice, abi.Denied},
		"pipe":                         {tarOf(t, item{name: "p", mode: fs.ModeNamedPipe}), archive.Options{}, archive.ReasonDevice, abi.Denied},
		"20,001 entries":               {zipOf(t, many(20_001)...), archive.Options{}, archive.ReasonCount, abi.TooLarge},
		"folders in one name":          {tarOf(t, item{name: strings.Repeat("a/", 400) + "f"}), archive.Options{Limits: archive.Limits{Entries: 100}}, archive.ReasonCount, abi.TooLarge},
		"zip bomb":                     {zipOf(t, item{name: "b", body: strings.Repeat("\x00", 8<<20)}), archive.Options{}, archive.ReasonRatio, abi.TooLarge},
		"gzip bomb":                    {gzOf(t, make([]byte, 8<<20)), archive.Options{}, archive.ReasonRatio, abi.TooLarge},
		"tar.gz bomb":                  {gzOf(t, tarOf(t, item{name: "b", body: strings.Repeat("\x00", 8<<20)})), archive.Options{}, archive.ReasonRatio, abi.TooLarge},
		"too many bytes":               {tarOf(t, item{name: "a", body: strings.Repeat("x", 600)}, item{name: "b", body: strings.Repeat("x", 600)}), archive.Options{Limits: archive.Limits{Bytes: 1000}}, archive.ReasonSize, abi.TooLarge},
		"nested 3":                     {nest(t, 3), archive.Options{Nested: true}, archive.ReasonDepth, abi.TooLarge},
		"nested bomb":                  {zipOf(t, item{name: "in.zip", body: string(zipOf(t, item{name: "b", body: strings.Repeat("\x00", 64<<20)}))}), archive.Options{Nested: true}, archive.ReasonRatio, abi.TooLarge},
		"character device":             {kind(t, tar.TypeChar), archive.Options{}, archive.ReasonDevice, abi.Denied},
		"long GNU name":                {named(t, tar.FormatGNU, "../"+strings.Repeat("a/", 90)+"x"), archive.Options{}, archive.ReasonEscape, abi.Denied},
		"PAX name":                     {named(t, tar.FormatPAX, "../é/"+strings.Repeat("a/", 90)+"x"), archive.Options{}, archive.ReasonEscape, abi.Denied},
		"escape in a nested":           {zipOf(t, item{name: "in.tar.gz", body: string(gzOf(t, tarOf(t, item{name: "../../x", body: "x"})))}), archive.Options{Nested: true}, archive.ReasonEscape, abi.Denied},
		"link in a nested":             {zipOf(t, item{name: "in.tar", body: string(tarOf(t, item{name: "l", link: "/etc"}, item{name: "l/x", body: "x"}))}), archive.Options{Nested: true}, archive.ReasonLink, abi.Denied},
		"file where a nested one goes": {zipOf(t, item{name: "in.zip", body: string(nest(t, 1))}, item{name: "in.zip/core.txt", body: "x"}), archive.Options{Nested: true}, archive.ReasonName, abi.Denied},
		"nested without end":           {nest(t, 40), archive.Options{Nested: true}, archive.ReasonDepth, abi.TooLarge},
		"bzip2 bomb":                   {bz2, archive.Options{}, archive.ReasonRatio, abi.TooLarge},
		"bomb of many members":         {members(t, 64), archive.Options{}, archive.ReasonRatio, abi.TooLarge},
		"link after its file":          {tarOf(t, item{name: "a", body: "x"}, item{name: "a", link: "/etc/passwd"}), archive.Options{}, archive.ReasonLink, abi.Denied},
		"shared bytes":                 {overlapping(t), archive.Options{}, archive.ReasonOverlap, abi.Denied},
		"lies about its size":          {lying(t), archive.Options{}, archive.ReasonDamaged, abi.Corrupt},
		"encrypted":                    {encrypted(t), archive.Options{}, archive.ReasonLocked, abi.Unsupported},
		"no archive":                   {[]byte("hello"), archive.Options{}, archive.ReasonUnknown, abi.Unsupported},
		"nothing":                      {nil, archive.Options{}, archive.ReasonUnknown, abi.Unsupported},
		"cut short":                    {zipOf(t, many(3)...)[:120], archive.Options{}, archive.ReasonDamaged, abi.Corrupt},
		"tar cut short":                {tarOf(t, item{name: "a", body: strings.Repeat("x", 3000)})[:1500], archive.Options{}, archive.ReasonDamaged, abi.Corrupt},
		"gzip cut short":               {gzOf(t, []byte(strings.Repeat("abc", 3000)))[:30], archive.Options{}, archive.ReasonDamaged, abi.Corrupt},
		"twice":                        {zipOf(t, item{name: "a"}, item{name: "a"}), archive.Options{}, archive.ReasonName, abi.Denied},
		"twice but for case":           {zipOf(t, item{name: "Straße"}, item{name: "STRASSE"}), archive.Options{}, archive.ReasonName, abi.Denied},
		"twice but for form":           {zipOf(t, item{name: "e\u0301"}, item{name: "\u00e9"}), archive.Options{}, archive.ReasonName, abi.Denied},
		"folders by case":              {tarOf(t, item{name: "A/x"}, item{name: "a/y"}), archive.Options{}, archive.ReasonName, abi.Denied},
		"file and folder":              {tarOf(t, item{name: "a"}, item{name: "a/b"}), archive.Options{}, archive.ReasonName, abi.Denied},
		"folder and file":              {tarOf(t, item{name: "a/b"}, item{name: "a"}), archive.Options{}, archive.ReasonName, abi.Denied},
	}
	data, err := os.ReadFile("testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		reason, quoted, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || reason == "#" {
			continue
		}
		var name string
		if _, err := fmt.Sscanf(quoted, "%q", &name); err != nil {
			t.Fatalf("testdata/names.txt: %s: %v", quoted, err)
		}
		rows["zip name "+quoted] = row{zipOf(t, item{name: name, body: "x"}), archive.Options{}, reason, abi.Denied}
		if !strings.ContainsRune(name, 0) { // a tar's name ends there
			rows["tar name "+quoted] = row{tarOf(t, item{name: name, body: "x"}), archive.Options{}, reason, abi.Denied}
		}
	}
	return rows
}
