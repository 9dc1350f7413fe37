package cloudtrail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/packed"
)

// Bounds on files. AWS ends a log file at some 50 MB unpacked.
var (
	digestBounds = packed.Bounds{Bytes: 64 << 20, Ratio: 400, Free: 1 << 20}
	logBounds    = packed.Bounds{Bytes: 1 << 30, Ratio: 400, Free: 64 << 20}
)

const (
	maxFiles        = 5_000_000
	maxSignatures   = 256 << 20 // bytes of signatures.json
	maxSidecar      = 64 << 10  // bytes of one signature file
	signatureSuffix = ".sig"
	signaturesFile  = "signatures.json"
)

// A tree is the files of a directory.
type tree struct {
	fsys       fs.FS
	files      map[string]*file
	signatures map[string]string // by object, from signatures.json
}

// A file is one that an account left.
type file struct {
	place
	listed int // digests that vouch for it
}

// readTree lists the files. Links are not followed: what they lead to did not come from the
// bucket.
func readTree(ctx context.Context, fsys fs.FS) (*tree, error) {
	t := &tree{fsys: fsys, files: map[string]*file{}}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return stopped(ctx)
		case !entry.Type().IsRegular():
			return nil
		case len(t.files) == maxFiles:
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are more than %d files", maxFiles), Hint: "look at a month at a time"}
		}
		if p := where(name); p.kind != other {
			t.files[name] = &file{place: p}
		}
		return nil
	})
	if err == nil {
		err = t.readSignatures()
	}
	return t, err
}

func stopped(ctx context.Context) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before all was looked at", Err: ctx.Err()}
}

// readSignatures reads the signatures that lie in one file.
func (t *tree) readSignatures() error {
	text, err := readSmall(t.fsys, signaturesFile, maxSignatures)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &t.signatures)
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read %s: %v", signaturesFile, err), Hint: `write it as {"object of the digest": "signature in hexadecimal"}`, Err: err}
	}
	return nil
}

// readSmall reads a file that has a bound.
func readSmall(fsys fs.FS, name string, most int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return text, err
}

// signature returns the signature that was kept beside a digest, or "": as hexadecimal digits,
// or as what `aws s3api head-object` says of it.
func (t *tree) signature(name, object string) (string, error) {
	text, err := readSmall(t.fsys, name+signatureSuffix, maxSidecar)
	if errors.Is(err, fs.ErrNotExist) {
		return t.signatures[object], nil
	}
	if err != nil {
		return "", fmt.Errorf("read its signature: %w", err)
	}
	said := strings.TrimSpace(string(text))
	if !strings.HasPrefix(said, "{") {
		return said, nil
	}
	var head struct {
		Metadata struct {
			Signature string `json:"signature"`
		}
	}
	if err := json.Unmarshal(text, &head); err != nil || head.Metadata.Signature == "" {
		return "", fmt.Errorf("the file beside it has no signature: it is neither hexadecimal nor the answer of head-object")
	}
	return head.Metadata.Signature, nil
}

// digests returns the digests of each series, from the oldest on.
func (t *tree) digests() map[string][]string {
	all := map[string][]string{}
	for name, f := range t.files {
		if f.kind == digestFile {
			all[f.series] = append(all[f.series], name)
		}
	}
	for _, names := range all {
		slices.SortFunc(names, func(a, b string) int {
			if c := t.files[a].at.Compare(t.files[b].at); c != 0 {
				return c
			}
			return strings.Compare(a, b)
		})
	}
	return all
}

// digest reads a digest file and the hash of its content.
func (t *tree) digest(name string) (*digest, [sha256.Size]byte, error) {
	var hash [sha256.Size]byte
	f, err := t.fsys.Open(name)
	if err != nil {
		return nil, hash, err
	}
	defer f.Close()
	in, err := packed.NewReader(f, "the file", digestBounds)
	if err != nil {
		return nil, hash, err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, hash, err
	}
	d, err := parseDigest(text)
	return d, sha256.Sum256(text), err
}

// A logFileRead is what a log file holds.
type logFileRead struct {
	hash           string // SHA-256 of its content, unpacked, in hexadecimal
	events         int
	oldest, newest time.Time // of its events
	odd            bool      // its events could not be read, although its hash could
}

// log reads a log file as it streams. An error says why it has no hash.
func (t *tree) log(name string) (read logFileRead, err error) {
	f, err := t.fsys.Open(name)
	if err != nil {
		return read, err
	}
	defer f.Close()
	in, err := packed.NewReader(f, "the file", logBounds)
	if err != nil {
		return read, err
	}
	hash := sha256.New()
	text := io.TeeReader(in, hash)
	read.odd = readEvents(text, &read) != nil
	if _, err := io.Copy(io.Discard, text); err != nil {
		return read, err
	}
	read.hash = hex.EncodeToString(hash.Sum(nil))
	return read, nil
}

// readEvents reads the times of {"Records": [{"eventTime": …}, …]}, one event at a time.
func readEvents(text io.Reader, read *logFileRead) error {
	in := &perEvent{Reader: text, left: maxEvent}
	d := json.NewDecoder(in)
	for _, want := range []any{json.Delim('{'), "Records", json.Delim('[')} {
		if token, err := d.Token(); err != nil || token != want {
			return errors.New(`it does not begin with {"Records":[`)
		}
	}
	for d.More() {
		var event struct {
			Time string `json:"eventTime"`
		}
		if err := d.Decode(&event); err != nil {
			return fmt.Errorf("event %d is no event", read.events+1)
		}
		at, err := instant(event.Time)
		if err != nil {
			return fmt.Errorf("event %d: %w", read.events+1, err)
		}
		if read.events == 0 || at.Before(read.oldest) {
			read.oldest = at
		}
		if read.events == 0 || at.After(read.newest) {
			read.newest = at
		}
		read.events++
		in.left = maxEvent
	}
	return nil
}

// maxEvent bounds the bytes of one event; AWS ends them at 256 KiB.
const maxEvent = 16 << 20

// perEvent bounds what is read for one event.
type perEvent struct {
	io.Reader
	left int
}

// Read implements io.Reader.
func (p *perEvent) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, fmt.Errorf("an event has more than %d bytes", maxEvent)
	}
	n, err := p.Reader.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}
