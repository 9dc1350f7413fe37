package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// testKey is a log key that tests share; it guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise ledger test key, 32 bytes"))

// otherKey is the key of somebody else.
var otherKey = ed25519.NewKeyFromSeed([]byte("somebody else's key, also 32 bytes"[:32]))

const testOrigin = "example.test/log"

func openTest(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(Options{Dir: dir, Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func testRecord(i int) *record.Record {
	return &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: "acme", At: time.Unix(1_800_000_000+int64(i), 0).UTC(),
		On:     pavise.Name{Tenant: "acme", Kind: "model", ID: fmt.Sprintf("m%d", i)},
		Detail: []byte(`{"rows":1}`),
	}
}

func appendN(t *testing.T, l *Log, n int, how Durability) {
	t.Helper()
	for i := range n {
		if _, err := l.Append(context.Background(), testRecord(i), how); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAppendReadProve(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	const n = 700 // more than two bundles, so that a second level of tiles exists
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() { appendN(t, l, n/7, Durable) })
	}
	wg.Wait()
	if got := l.Size(); got != n {
		t.Fatalf("size %d, want %d", got, n)
	}
	for i := range uint64(n) {
		if _, err := l.Read(i); err != nil {
			t.Fatalf("read %d: %v", i, err)
		}
		if _, err := l.Prove(i); err != nil {
			t.Fatalf("prove %d: %v", i, err)
		}
	}
	next := uint64(250)
	for i, r := range l.Records(250, 600) {
		if alone, err := l.Read(i); i != next || err != nil || alone.On != r.On {
			t.Fatalf("record %d of a range is %s; %d alone is %s, %v", i, r.On, next, alone.On, err)
		}
		next++
	}
	if next != 600 {
		t.Errorf("the range ended at %d, not 600", next)
	}
	if _, err := l.Read(n); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("read beyond the end: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	key := l.signer.Key().String()
	for _, known := range []string{"", key, proof.Fingerprint(key)} {
		report, err := audit.Verify(dir, audit.Options{Key: known})
		if err != nil {
			t.Fatal(err)
		}
		want := audit.Consistent
		if known != "" {
			want = audit.Verified
		}
		if report.Records != n || report.Signed != n || report.Conclusion != want {
			t.Errorf("known %q: report %+v", known, report)
		}
	}
}

func TestReopenContinues(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		l := openTest(t, dir)
		if got, want := l.Size(), uint64(round*300); got != want {
			t.Fatalf("round %d: size %d, want %d", round, got, want)
		}
		wg := sync.WaitGroup{}
		for range 3 {
			wg.Go(func() { appendN(t, l, 100, Written) })
		}
		wg.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := openTest(t, dir)
	if _, err := l.Prove(1199); err != nil {
		t.Error(err)
	}
}

func TestDurableReceiptIsCovered(t *testing.T) {
	l := openTest(t, t.TempDir())
	receipt, err := l.Append(context.Background(), testRecord(0), Durable)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Size <= receipt.Index || l.Head().Size < receipt.Size {
		t.Errorf("receipt %+v, head %d", receipt, l.Head().Size)
	}
}

func TestWrittenIsSyncedSoon(t *testing.T) {
	l := openTest(t, t.TempDir())
	appendN(t, l, 1, Written)
	deadline := time.Now().Add(10 * time.Second)
	for l.Head().Size < 1 {
		if time.Now().After(deadline) {
			t.Fatal("a written record was never signed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir)
	_, err := Open(Options{Dir: dir, Origin: testOrigin, Key: testKey})
	if pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("second open: %v", err)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir).Close()
	_, err := Open(Options{Dir: dir, Origin: testOrigin, Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
	if pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("open with another key: %v", err)
	}
}

func TestTooLongRecord(t *testing.T) {
	l := openTest(t, t.TempDir())
	r := testRecord(0)
	r.Sealed = make([]byte, 60_000)
	if _, err := l.Append(context.Background(), r, Written); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("long record: %v", err)
	}
	appendN(t, l, 1, Durable)
}

func TestClosedLogRefuses(t *testing.T) {
	l := openTest(t, t.TempDir())
	l.Close()
	if _, err := l.Append(context.Background(), testRecord(0), Written); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("append to a closed log: %v", err)
	}
	if err := l.AwaitSigned(context.Background(), 5); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("wait on a closed log: %v", err)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root ignores file modes; TestReadOnlyDisk covers EROFS")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: filepath.Join(dir, "ledger"), Origin: testOrigin, Key: testKey})
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unavailable || e.Hint == "" {
		t.Errorf("open in a read-only directory: %v", err)
	}
}

func TestAwaitSeesGrowth(t *testing.T) {
	l := openTest(t, t.TempDir())
	done := make(chan error, 1)
	go func() { done <- l.AwaitSigned(context.Background(), 0) }()
	appendN(t, l, 1, Written)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
