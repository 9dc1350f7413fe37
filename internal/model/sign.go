package model

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// Sign signs a model. Its fields are flags of the command line.
type Sign struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Path      string   `arg:"" help:"The directory, or the file, of the model."`
	Key       string   `help:"The private key to sign with (PEM: P-256, P-384 or P-521)." required:"" placeholder:"FILE"`
	Chain     string   `name:"certificate-chain" help:"Sign as who this certificate is of (PEM: the key's own first, then those who gave it)." placeholder:"FILE"`
	Out       string   `short:"o" help:"Where the signature goes. Nothing may be there (default: PATH.sig)." placeholder:"FILE"`
	Ignore    []string `help:"Leave this path, from the top of the model, out, with all below it; may be repeated. What Git keeps at the top is left out by itself." placeholder:"PATH" sep:"none"`
	Hash      string   `help:"The hash function: sha256, blake2b or blake3." default:"sha256" enum:"sha256,blake2b,blake3"`
	ShardSize int64    `help:"Hash files in shards of so many bytes, so that all cores hash a large one, and what changed is found more closely; 0: whole." default:"0" placeholder:"BYTES"`
	Follow    bool     `name:"follow-links" help:"Follow links, wherever they lead, and sign what is behind them; without it a link is refused."`
}

// Help is the text behind the command's flags.
func (*Sign) Help() string {
	return `Signs a model as OpenSSF Model Signing 1.0 has it: a signature over a list of all files
with their digests. The Python package model-signing verifies it, and so does
pavise model verify.

The key is an elliptic one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256.
With a certificate whoever trusts who gave it can verify without having the key.

Every file under the directory is signed, the signature itself left out, wherever it goes.
What changes while it is read is refused. The same model, key and flags have the same
signature. --hash and --shard-size are read by few other tools: leave them alone where
others verify.

For example:

  pavise model sign fraud-v3/ --key signing.pem -o fraud-v3.sig`
}

// Signature is what came of it.
type Signature struct {
	Path      string     `json:"path"`
	Signature string     `json:"signature"` // the file
	Root      string     `json:"root"`      // of the digests, SHA-256 in hexadecimal
	Hash      oms.Hash   `json:"hash"`
	Files     int        `json:"files"`
	Bytes     int64      `json:"bytes"`
	Ignored   []string   `json:"ignored"`
	Signed    oms.Signed `json:"signed"`
	Recorded  bool       `json:"recorded"` // this command leaves no record
}

// Run signs. Errors are of kind Invalid for what cannot be signed, Conflict for what changed
// meanwhile or is there already, NotFound and Denied for files, and Unavailable for the disk.
//
// Unguarded: whoever runs it reads their own files, with their own key, as themselves; no
// principal of an installation acts.
func (s *Sign) Run(ctx context.Context) (*Signature, error) {
	signer, signed, err := s.signer()
	if err != nil {
		return nil, err
	}
	p, err := openPlace(s.Path)
	if err != nil {
		return nil, err
	}
	defer p.close()
	out := s.Out
	if out == "" {
		out = filepath.Join(filepath.Dir(p.dir), p.name()+".sig")
		if p.one != "" {
			out = filepath.Join(p.dir, p.one+".sig")
		}
		if given := filepath.Clean(s.Path); !strings.HasSuffix(given, ".") {
			out = given + ".sig"
		}
	}
	if _, err := os.Lstat(out); err == nil {
		return nil, thereAlready(out)
	}
	ignored, err := s.ignored(p, out)
	if err != nil {
		return nil, err
	}
	m := &oms.Manifest{Name: strings.ToValidUTF8(p.name(), "\ufffd"), Hash: oms.Hash(s.Hash), ShardSize: s.ShardSize, Symlinks: s.Follow, Ignored: ignored}
	bytes, err := s.fill(ctx, p, m)
	if err != nil {
		return nil, err
	}
	text, err := signer.Sign(m)
	if err != nil {
		return nil, err
	}
	return &Signature{
		Path: s.Path, Signature: out, Root: hex.EncodeToString(m.Root[:]), Hash: m.Hash, Files: len(m.Files), Bytes: bytes, Ignored: ignored, Signed: signed,
	}, writeNew(out, text)
}

// signer reads the key and the certificates.
func (s *Sign) signer() (*oms.Signer, oms.Signed, error) {
	if s.ShardSize < 0 || s.ShardSize > 1<<53 {
		return nil, oms.Signed{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("shards of %d bytes", s.ShardSize), Hint: "give a number of bytes, such as 1000000000, or 0"}
	}
	text, err := plainfile.Read("private key", s.Key, maxKeys)
	if err != nil {
		return nil, oms.Signed{}, err
	}
	key, err := oms.ParsePrivateKey(text)
	if err != nil {
		return nil, oms.Signed{}, err
	}
	var chain []byte
	if s.Chain != "" {
		if chain, err = plainfile.Read("certificate chain", s.Chain, maxKeys); err != nil {
			return nil, oms.Signed{}, err
		}
	}
	signer, err := oms.NewSigner(key, chain, time.Now())
	if err != nil {
		return nil, oms.Signed{}, err
	}
	signed, err := signer.Describe()
	return signer, signed, err
}

// ignored are the paths that are left out, and takes them out of the place.
func (s *Sign) ignored(p *place, out string) ([]string, error) {
	list := slices.Clone(oms.DefaultIgnored)
	for _, name := range s.Ignore {
		clean := path.Clean(filepath.ToSlash(name))
		if !oms.ValidPath(clean) {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is no path in the model", Hint: "name it from the top of the model, as sub/file"}
		}
		list = append(list, clean)
	}
	if below, ok := p.below(out); ok && out != "" && p.one == "" {
		list = append(list, below)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	p.ignore(list...)
	p.follow = s.Follow
	return list, nil
}

// found lists the files of the model, all of which can be part of one.
func (s *Sign) found(ctx context.Context, p *place) (*look, error) {
	found, err := p.entries(ctx)
	if err != nil {
		return nil, err
	}
	if len(found.odd) > 0 {
		o := found.odd[0]
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(o.path) + " cannot be signed: " + strings.Replace(o.why, "links were not followed when the model was signed", "links are followed with --follow-links alone", 1), Hint: "take it out of the model, or leave it out: --ignore"}
	}
	return found, nil
}

// fill lists the files of the model with their digests.
func (s *Sign) fill(ctx context.Context, p *place, m *oms.Manifest) (bytes int64, err error) {
	found, err := s.found(ctx, p)
	if err != nil {
		return 0, err
	}
	var pieces []piece
	for i := range found.files {
		pieces = append(pieces, cut(&found.files[i], m.ShardSize)...)
		bytes += found.files[i].info.Size()
	}
	if len(pieces) == 0 || len(pieces) > oms.MaxFiles {
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are %d files and shards to sign in %s, and there can be 1 to %d", len(pieces), rowseal.Shown(s.Path), oms.MaxFiles), Hint: "name a directory with files; make shards larger"}
	}
	if err := p.sums(ctx, pieces, m.Hash, s.Say); err != nil {
		return 0, err
	}
	for _, one := range pieces {
		if n := len(m.Files); n == 0 || m.Files[n-1].Path != one.of.path {
			m.Files = append(m.Files, oms.File{Path: one.of.path})
		}
		part := oms.Part{Digest: one.sum}
		if m.ShardSize > 0 {
			part.Start, part.End = one.start, one.start+one.size
		}
		f := &m.Files[len(m.Files)-1]
		f.Parts = append(f.Parts, part)
	}
	return bytes, p.settled(ctx, found)
}

// Print prints it for people.
func (s *Signature) Print(w io.Writer) {
	fmt.Fprintf(w, "%s is signed: %s, %s.\n\n", rowseal.Shown(s.Path), counted(s.Files, "file"), progress.Size(s.Bytes))
	fact(w, "root", "%s", s.Root)
	fact(w, "signature", "%s", rowseal.Shown(s.Signature))
	fact(w, "signed by", "%s %s", s.Signed.Mode, rowseal.Shown(s.Signed.By))
	fact(w, "left out", "%s", rowseal.Shown(strings.Join(s.Ignored, ", ")))
	unrecorded(w)
}
