package audit

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

const testOrigin = "example.test/log"

var (
	testKey  = ed25519.NewKeyFromSeed([]byte("pavise audit test key, 32 bytes."))
	otherKey = ed25519.NewKeyFromSeed([]byte("somebody else's key, also 32 byt"))
	testSeed = []byte("an ML-DSA-44 seed that is 32 byt")
	epoch    = time.Unix(1_800_000_000, 0).UTC()
)

// testRecord is the i-th record of a test's log, written in its i-th second.
func testRecord(i int) *record.Record {
	return &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: "acme", At: epoch.Add(time.Duration(i) * time.Second),
		On: pavise.Name{Tenant: "acme", Kind: "model", ID: fmt.Sprint("m", i)}, Detail: json.RawMessage(`{"rows":1}`),
	}
}

// options open the test's log on a disk, with segments of 256 records.
func options(d disk.Directory) ledger.Options {
	return ledger.Options{Disk: d, Origin: testOrigin, Key: testKey, Tenant: "acme", SegmentSize: 1, Now: func() time.Time { return epoch.Add(24 * time.Hour) }}
}

func openLog(t testing.TB, opts ledger.Options) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// grow appends the test's records from one to another, and waits until they are
// published.
func grow(t testing.TB, l *ledger.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		how := ledger.Written
		if i == to-1 {
			how = ledger.Durable
		}
		if _, err := l.Append(t.Context(), testRecord(i), how); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AwaitPublished(t.Context(), l.Size()-1); err != nil {
		t.Fatal(err)
	}
}

// written returns the disk of a closed log of n records.
func written(t testing.TB, n int, change ...func(*ledger.Options)) *disktest.Disk {
	t.Helper()
	d := disktest.New()
	opts := options(d)
	for _, f := range change {
		f(&opts)
	}
	l := openLog(t, opts)
	grow(t, l, 0, n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

func withMLDSA(o *ledger.Options) { o.MLDSA = testSeed }

// logs are those of someLog, by their number of records. No test changes one.
var logs = map[int]map[string]string{}

// someLog returns the files of a log of n records, made once for all tests.
func someLog(t testing.TB, n int) map[string]string {
	t.Helper()
	if logs[n] == nil {
		logs[n] = files(t, written(t, n))
	}
	return maps.Clone(logs[n])
}

// logKey returns the verifier key of the test's log.
func logKey(t testing.TB, key ed25519.PrivateKey) *proof.Key {
	t.Helper()
	s, err := proof.NewLogSigner(testOrigin, key)
	if err != nil {
		t.Fatal(err)
	}
	return s.Key()
}

// known is what a verifier brings who knows the log's key.
func known(t testing.TB) Options {
	t.Helper()
	return Options{Key: logKey(t, testKey).Fingerprint()}
}

// files returns what lies on a disk.
func files(t testing.TB, d *disktest.Disk) map[string]string {
	t.Helper()
	names, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		b, _ := d.Bytes(name)
		all[name] = string(b)
	}
	return all
}

// names returns the names of files in order.
func names(all map[string]string) []string { return slices.Sorted(maps.Keys(all)) }

// onDisk puts files on a disk of their own.
func onDisk(all map[string]string) *disktest.Disk {
	d := disktest.New()
	for name, content := range all {
		d.Put(name, []byte(content))
	}
	return d
}

// inDir puts files into a directory of the operating system.
func inDir(t testing.TB, all map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// derived reports whether a file is made from the records.
func derived(name string) bool {
	return strings.HasPrefix(name, "hash.") || strings.HasPrefix(name, "index-")
}

// verified fails unless a log verifies with the key known.
func verified(t testing.TB, d disk.Directory, opts Options) Report {
	t.Helper()
	report, err := VerifyOn(d, opts)
	if err != nil || report.Conclusion != Verified {
		t.Fatalf("%+v, %v", report, err)
	}
	return report
}

// refused fails unless a log does not verify, with an error of kind Unverified that
// says why.
func refused(t testing.TB, what string, d disk.Directory, opts Options, why string) {
	t.Helper()
	report, err := VerifyOn(d, opts)
	if pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %+v, %v, want %q", what, report, err, why)
	}
	if report.Conclusion != "" {
		t.Errorf("%s: refused, and concluded %q", what, report.Conclusion)
	}
}

// forge writes a log of any entries, signed by its key as nobody's writer would.
func forge(t testing.TB, entries ...[]byte) *disktest.Disk {
	t.Helper()
	signer, err := proof.NewLogSigner(testOrigin, testKey)
	if err != nil {
		t.Fatal(err)
	}
	var text, hashes []byte
	var tree proof.Range
	for _, entry := range entries {
		text = append(binary.BigEndian.AppendUint16(text, uint16(len(entry))), entry...)
		leaf := proof.Leaf(entry)
		hashes = append(hashes, leaf[:]...)
		tree.Add(0, leaf, nil)
	}
	cp, err := proof.Sign(testOrigin, tree.Size(), tree.Root(), epoch, signer)
	if err != nil {
		t.Fatal(err)
	}
	return onDisk(map[string]string{
		"origin": signer.Key().String() + "\n", "checkpoint": string(cp.Note), disk.SegmentName(0): string(text), disk.LevelName(0): string(hashes),
	})
}

// entryOf returns the entry of a record, under a tag of zeroes.
func entryOf(t testing.TB, r *record.Record) []byte {
	t.Helper()
	entry, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return append(entry, make([]byte, record.TagSize)...)
}

// frameAt returns where entry i of a segment's bytes begins and ends.
func frameAt(b string, i int) (start, end int) {
	for ; ; i-- {
		end = start + 2 + int(binary.BigEndian.Uint16([]byte(b[start:])))
		if i == 0 {
			return start, end
		}
		start = end
	}
}

// witnesses returns n witnesses that run elsewhere, and a policy that asks for all of
// them and lists the log.
func witnesses(t testing.TB, n int) (signers []*proof.Signer, policy *proof.Policy) {
	t.Helper()
	text := "log " + logKey(t, testKey).String() + "\n"
	group := "group g all"
	for i := range n {
		seed := make([]byte, 32)
		seed[0] = byte(i + 1)
		s, err := proof.NewCosigner(fmt.Sprint("witness.example/", i), ed25519.NewKeyFromSeed(seed))
		if i%2 == 1 {
			s, err = proof.NewMLDSACosigner(fmt.Sprint("witness.example/", i), seed)
		}
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
		text += fmt.Sprintf("witness w%d %s\n", i, s.Key())
		group += fmt.Sprintf(" w%d", i)
	}
	return signers, parsePolicy(t, text+group+"\nquorum g\n")
}

func parsePolicy(t testing.TB, text string) *proof.Policy {
	t.Helper()
	p, err := proof.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// cosigned returns a checkpoint with cosignatures besides.
func cosigned(t testing.TB, cp proof.Checkpoint, at time.Time, signers ...*proof.Signer) proof.Checkpoint {
	t.Helper()
	lines, err := proof.Cosign(cp.Note, at, signers...)
	if err != nil {
		t.Fatal(err)
	}
	cp.Note = append(slices.Clone(cp.Note), lines...)
	return cp
}

// rootOf returns the root of a log's first n records, from their leaf hashes.
func rootOf(t testing.TB, all map[string]string, n uint64) tlog.Hash {
	t.Helper()
	var tree proof.Range
	if err := disk.Hashes(strings.NewReader(all["hash.0"]), n, func(h tlog.Hash) { tree.Add(0, h, nil) }); err != nil {
		t.Fatal(err)
	}
	return tree.Root()
}
