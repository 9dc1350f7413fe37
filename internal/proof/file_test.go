package proof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// testFile returns a proof file of one of five entries, its leaf and its checkpoint.
func testFile(t testing.TB, index uint64) (File, tlog.Hash, Checkpoint) {
	t.Helper()
	tree := newTestTree(t, 5)
	cp, err := Sign("example.com/log", 5, tree.root(5), testTime, testLog(t, "example.com/log", 1))
	if err != nil {
		t.Fatal(err)
	}
	path, err := tlog.ProveRecord(5, int64(index), tree)
	if err != nil {
		t.Fatal(err)
	}
	return File{Extra: []byte("extra"), Index: index, Path: path, Checkpoint: cp.Note}, tree.leaves[index], cp
}

// TestProofFileRoundTrip writes proof files of every shape and reads them again.
func TestProofFileRoundTrip(t *testing.T) {
	hash := tlog.Hash(testRoot(1))
	for name, f := range map[string]File{
		"as it is":         first(testFile(t, 3)),
		"no extra":         {Index: 0, Checkpoint: []byte("x\n")},
		"an empty extra":   {Extra: []byte{}, Index: 1<<63 - 1, Checkpoint: []byte("x\n")},
		"no path":          {Extra: []byte{0, 10, 10, 255}, Index: 7, Checkpoint: []byte("x\n")},
		"the longest path": {Index: 1, Path: slicesRepeat(hash, maxPath), Checkpoint: []byte("a\n\nb\n\nc\n")},
		"no checkpoint":    {Index: 1, Path: tlog.RecordProof{hash}},
	} {
		text := f.Marshal()
		if !IsFile(text) {
			t.Errorf("%s does not begin as a proof file", name)
		}
		got, err := ParseFile(text)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if !bytes.Equal(got.Extra, f.Extra) || (got.Extra == nil) != (f.Extra == nil) || got.Index != f.Index || len(got.Path) != len(f.Path) || string(got.Checkpoint) != string(f.Checkpoint) {
			t.Errorf("%s: written %+v, read %+v", name, f, got)
		}
		if string(got.Marshal()) != string(text) {
			t.Errorf("%s: written again otherwise", name)
		}
	}
}

func first(f File, _ tlog.Hash, _ Checkpoint) File { return f }

func slicesRepeat(h tlog.Hash, n int) (hashes []tlog.Hash) {
	for range n {
		hashes = append(hashes, h)
	}
	return hashes
}

// TestProofFileThatIsNone lists texts that are no proof file; each is refused with
// kind Invalid, or Unverified if it begins as one does and so is damaged.
func TestProofFileThatIsNone(t *testing.T) {
	f, _, _ := testFile(t, 3)
	whole := string(f.Marshal())
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, text := range map[string]string{
		"nothing":                  "",
		"a header":                 header,
		"a header and a line end":  header + "\n",
		"another version":          strings.Replace(whole, "@v1", "@v2", 1),
		"a space behind it":        strings.Replace(whole, "@v1", "@v1 ", 1),
		"a byte order mark":        "\ufeff" + whole,
		"a line before":            "\n" + whole,
		"returns":                  strings.ReplaceAll(whole, "\n", "\r\n"),
		"a return in a hash":       header + "\nindex 1\n" + hash + "\r\n\nx",
		"no index":                 header + "\nextra AA==\n\nx",
		"an index without digits":  header + "\nindex \n\nx",
		"an index with a zero":     header + "\nindex 01\n\nx",
		"an index with a sign":     header + "\nindex +1\n\nx",
		"a negative index":         header + "\nindex -1\n\nx",
		"an index beyond 63 bits":  header + "\nindex 9223372036854775808\n\nx",
		"two indexes":              header + "\nindex 1\nindex 2\n\nx",
		"extra behind the index":   header + "\nindex 1\nextra AA==\n\nx",
		"two extras":               header + "\nextra AA==\nextra AA==\nindex 1\n\nx",
		"extra without a space":    header + "\nextra\nindex 1\n\nx",
		"extra that is no base64":  header + "\nextra AA=\nindex 1\n\nx",
		"extra of other bits":      header + "\nextra AB==\nindex 1\n\nx",
		"extra with a return":      header + "\nextra AA==\r\nindex 1\n\nx",
		"a short hash":             header + "\nindex 1\nAA==\n\nx",
		"a hash of other bits":     header + "\nindex 1\n" + hash[:42] + "B=\n\nx",
		"a hash without padding":   header + "\nindex 1\n" + hash[:43] + "\n\nx",
		"64 hashes":                header + "\nindex 1\n" + strings.Repeat(hash+"\n", 64) + "\nx",
		"no blank line":            header + "\nindex 1\n" + hash + "\nx\n",
		"blank line at once":       header + "\n\nindex 1\n\nx",
		"too long":                 whole + strings.Repeat("x", maxFile),
		"a space behind the index": header + "\nindex 1 \n\nx",
	} {
		want, why := pavise.Invalid, "no proof file"
		if line, _, _ := strings.Cut(text, "\n"); strings.TrimSuffix(line, "\r") == header {
			want, why = pavise.Unverified, "the proof file is damaged"
		}
		if name == "returns" || name == "a return in a hash" || name == "extra with a return" {
			why += ": its line ends were changed"
		}
		got, err := ParseFile([]byte(text))
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != want || !strings.Contains(e.Msg, why) || strings.Contains(e.Msg, "begin") && want == pavise.Unverified || e.Hint == "" {
			t.Errorf("%s: %+v, %#v", name, got, err)
		}
	}
	if IsFile([]byte(header)) || IsFile([]byte("x"+whole)) {
		t.Error("taken for a proof file")
	}
}

// TestProveHoldsEachEntryAtItsPlace: the proof of each entry holds for that entry, at
// that place, in that tree, and in no other way.
func TestProveHoldsEachEntryAtItsPlace(t *testing.T) {
	for index := range uint64(5) {
		f, leaf, cp := testFile(t, index)
		if err := f.Prove(leaf, cp); err != nil {
			t.Errorf("entry %d: %v", index, err)
		}
		refused := func(what string, f File, leaf tlog.Hash, cp Checkpoint) {
			t.Helper()
			if err := f.Prove(leaf, cp); pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("entry %d, %s: %v", index, what, err)
			}
		}
		refused("another leaf", f, testRoot(1), cp)
		for other := range uint64(8) {
			moved := f
			if moved.Index = other; other != index {
				refused(fmt.Sprint("as entry ", other), moved, leaf, cp)
			}
		}
		far := f
		far.Index = 1<<64 - 1
		refused("far beyond", far, leaf, cp)
		other := cp
		other.Root[0] ^= 1
		refused("another root", f, leaf, other)
		other = cp
		other.Size = 0
		refused("an empty tree", f, leaf, other)
		for i := range f.Path {
			changed := f
			changed.Path = append(tlog.RecordProof{}, f.Path...)
			changed.Path[i][31] ^= 1
			refused("a changed path", changed, leaf, cp)
			changed.Path = append(append(tlog.RecordProof{}, f.Path[:i]...), f.Path[i+1:]...)
			refused("a shorter path", changed, leaf, cp)
		}
		longer := f
		longer.Path = append(append(tlog.RecordProof{}, f.Path...), testRoot(2))
		refused("a longer path", longer, leaf, cp)
	}
}

// TestRecordRoundTrip: the extra data of our own proof files comes back, whatever the
// entry's bytes are.
func TestRecordRoundTrip(t *testing.T) {
	for _, r := range []Record{
		{Keys: []string{"a+1+b"}, Entry: []byte("entry")},
		{Keys: []string{"a", "b", "c"}, Entry: []byte("\n\n\n")},
		{Keys: []string{"a"}, Entry: nil},
		{Keys: []string{"a"}, Entry: []byte{0, 255, '\n', '\n', 'x'}},
	} {
		got, err := ParseRecord(r.Marshal())
		if err != nil || strings.Join(got.Keys, " ") != strings.Join(r.Keys, " ") || !bytes.Equal(got.Entry, r.Entry) {
			t.Errorf("written %q, read %q, %v", r, got, err)
		}
	}
	for _, extra := range []string{"", "\n", "\n\n", "\n\nentry", "key", "key\n", "\nkey\nentry"} {
		if got, err := ParseRecord([]byte(extra)); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %q, %v", extra, got, err)
		}
	}
}

// TestConsistentIsAPrefix asks of all pairs of trees up to 70 leaves whether one
// continues the other, with the right proof and with changed ones.
func TestConsistentIsAPrefix(t *testing.T) {
	tree := newTestTree(t, 70)
	at := func(n int) Checkpoint { return Checkpoint{Origin: "x", Size: uint64(n), Root: tree.root(n)} }
	for now := range 71 {
		for old := range now + 1 {
			var path tlog.TreeProof
			if old > 0 && old < now {
				var err error
				if path, err = tlog.ProveTree(int64(now), int64(old), tree); err != nil {
					t.Fatal(err)
				}
			}
			if err := Consistent(at(old), at(now), path); err != nil {
				t.Fatalf("%d of %d: %v", old, now, err)
			}
			refused := func(what string, old, now Checkpoint, path tlog.TreeProof) {
				t.Helper()
				if err := Consistent(old, now, path); pavise.KindOf(err) != pavise.Unverified {
					t.Fatalf("%d of %d, %s: %v", old.Size, now.Size, what, err)
				}
			}
			refused("a hash more", at(old), at(now), append(tlog.TreeProof{}, append(path, tlog.Hash{1})...))
			if old == 0 {
				continue
			}
			other := at(old)
			other.Root[5] ^= 4
			refused("another old tree", other, at(now), path)
			other = at(now)
			other.Root[5] ^= 4
			refused("another new tree", at(old), other, path)
			if old < now {
				refused("a shorter tree", at(now), at(old), path)
			}
			for i := range path {
				changed := append(tlog.TreeProof{}, path...)
				changed[i][0] ^= 1
				refused("a changed proof", at(old), at(now), changed)
				refused("a shorter proof", at(old), at(now), path[:i])
			}
		}
	}
	if err := Consistent(Checkpoint{}, Checkpoint{Size: 0, Root: testRoot(1)}, nil); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("no records under a root of their own: %v", err)
	}
}

// FuzzParseFile: a proof file is spelled in one way, and within its bounds.
func FuzzParseFile(f *testing.F) {
	file, _, _ := testFile(f, 3)
	f.Add(file.Marshal())
	f.Add([]byte(header + "\nextra \nindex 0\n\n"))
	f.Add([]byte(header + "\nindex 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\nx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseFile(text)
		if err != nil {
			if kind := pavise.KindOf(err); kind != pavise.Invalid && (kind != pavise.Unverified || !bytes.HasPrefix(text, []byte(header))) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(got.Marshal(), text) {
			t.Errorf("%q is spelled %q", text, got.Marshal())
		}
		if len(got.Path) > maxPath || len(text) > maxFile || !IsFile(text) || got.Index > 1<<63-1 {
			t.Errorf("out of bounds: %+v", got)
		}
		if held, err := ParseRecord(got.Extra); err == nil && !bytes.Equal(held.Marshal(), got.Extra) {
			t.Errorf("the extra line %q is spelled %q", got.Extra, held.Marshal())
		}
	})
}
