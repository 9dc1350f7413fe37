package premises

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/screening"
	"github.com/pavise/pavise/internal/store/blob"
)

// OpenCatalog opens the datasets that the house knows. What is watched lies below the roots,
// directories and buckets that whoever configures it has named.
func (h *House) OpenCatalog(ctx context.Context, roots []string, room config.Room) (err error) {
	at := places{}
	for _, root := range roots {
		if strings.Contains(root, "://") {
			bucket, err := newBucketRoot(root)
			if err != nil {
				return err
			}
			at.buckets = append(at.buckets, bucket)
			continue
		}
		real, err := h.foreignRoot(root, "datasets cannot be watched")
		if err != nil {
			return err
		}
		given, _ := filepath.Abs(root) // realPath has asked
		at.roots = append(at.roots, dataRoot{given, real})
	}
	judge := screening.NewJudge(screening.UsualBounds, 2)
	h.Catalog, err = catalog.Open(ctx, catalog.Config{
		Guard: h.Guard, Log: h.Log, Store: h.DB, Places: at, Dir: h.Data.Path("datasets"), Bounds: catalog.Bounds(room), Now: h.Now, Say: h.Say,
		Compare: compareSeals, Prove: proveRow, Signed: dataset.SignedAs,
		Screen: func(ctx context.Context, ask catalog.ToScreen) (judged catalog.Judged, report *catalog.Report, err error) {
			name, root, err := at.find(ask.Place)
			if err != nil {
				return judged, nil, err
			}
			return judge.Judge(ctx, screening.Place{Path: name, Within: root}, ask)
		},
	})
	return err
}

// foreignRoot is a directory of others below which something may be read, without links. The
// house's own keys are nothing of that.
func (h *House) foreignRoot(root, cannot string) (string, error) {
	no := func(why string, err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s below %s: %s", cannot, rowseal.Shown(root), why), Hint: "name a directory with the data alone", Err: err}
	}
	real, err := realPath(root)
	if err != nil {
		return "", no(err.Error(), err)
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return "", no("it is no directory", err)
	}
	own, err := realPath(string(h.Data))
	if err != nil {
		return "", no(err.Error(), err)
	}
	for _, pair := range [][2]string{{real, own}, {own, real}} {
		if below, err := filepath.Rel(pair[0], pair[1]); err == nil && filepath.IsLocal(below) {
			return "", no("the data directory "+rowseal.Shown(string(h.Data))+" lies there, with keys", nil)
		}
	}
	return real, nil
}

// realPath is a path from the root of the file system, without links.
func realPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// places are where datasets lie that the house watches. It implements catalog.Places.
type places struct {
	roots   []dataRoot
	buckets []bucketRoot
}

// A dataRoot is a directory below which datasets lie.
type dataRoot struct{ given, real string } // as it was configured, and without links

// Allowed implements catalog.Places.
func (p places) Allowed(at catalog.Place) error {
	for _, pattern := range at.ByBlock {
		if _, err := path.Match(pattern, "x"); err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no pattern of a file's name", pattern), Hint: `--by-block takes names with * and ?, for example "*.log"`, Err: err}
		}
	}
	switch rowseal.Format(at.Format) {
	case "", rowseal.CSV, rowseal.JSONL, rowseal.Parquet, rowseal.Blocks:
	default:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no form of a file", at.Format), Hint: "leave it out, or say csv, jsonl, parquet or blocks"}
	}
	_, _, err := p.find(at)
	return err
}

// find says in which file or directory a dataset lies, and below which root; or the address of a
// bucket, which is below none.
func (p places) find(at catalog.Place) (name, root string, err error) {
	if blob.IsAddress(at.URL) {
		name, err = p.bucketPlace(at.URL)
		return name, "", err
	}
	u, err := url.Parse(at.URL)
	if err != nil || u.Scheme != "file" || u.Host != "" || u.RawQuery != "" || u.Fragment != "" || !filepath.IsAbs(u.Path) || strings.ContainsRune(u.Path, 0) {
		return "", "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nobody here can look at %.200q", at.URL), Hint: "write file:// and a path from the root, as file:///srv/lake/rows.csv, or s3://BUCKET/PREFIX, gs://… or az://…", Err: err}
	}
	name = filepath.Clean(u.Path)
	var all []string
	for _, r := range p.roots {
		for _, above := range []string{r.given, r.real} {
			if below, err := filepath.Rel(above, name); err == nil && filepath.IsLocal(below) {
				return filepath.Join(r.real, below), r.real, nil
			}
		}
		all = append(all, r.given)
	}
	hint := "the server looks below " + strings.Join(all, ", ") + ": datasets in pavise.yaml names them"
	if len(p.roots) == 0 {
		hint = "the server looks nowhere: name the directories in pavise.yaml, datasets: {roots: […]}, or start it with pavise up --datasets DIR"
	}
	return "", "", &pavise.Error{Kind: pavise.Denied, Msg: rowseal.Shown(name) + " is below no directory in which datasets are watched", Hint: hint}
}

// Seal implements catalog.Places.
func (p places) Seal(ctx context.Context, at catalog.Place, out string, grow func(n int64) error) (resumed int, err error) {
	name, root, err := p.find(at)
	if err != nil {
		return 0, err
	}
	made, err := (&dataset.Seal{Path: name, Within: root, Out: out, Format: cmp.Or(at.Format, "auto"), ByBlock: at.ByBlock, Grow: grow}).Run(ctx)
	if err != nil {
		return 0, err
	}
	return made.Resumed, nil
}

// Hold implements catalog.Places.
func (p places) Hold(ctx context.Context, at catalog.Place, seal string, fast bool) (differ catalog.Differences, trusted int, err error) {
	name, root, err := p.find(at)
	if err != nil {
		return differ, 0, err
	}
	held, err := (&dataset.Verify{Path: name, Within: root, Seal: seal, Fast: fast}).Run(ctx)
	if err != nil {
		return differ, 0, err
	}
	return differences(held.Differences), held.Trusted, nil
}

// compareSeals says what lies between two seals.
func compareSeals(ctx context.Context, old, now string) (catalog.Differences, error) {
	compared, err := (&dataset.Compare{Old: old, New: now}).Run(ctx)
	if err != nil {
		return catalog.Differences{}, err
	}
	differ := differences(compared.Differences)
	if compared.Note != "" && len(differ.Files) > 0 {
		differ.Files[0].Note = strings.TrimPrefix(differ.Files[0].Note+"; "+compared.Note, "; ")
	}
	return differ, nil
}

// proveRow proves that a row is in a seal, or that none like it is.
func proveRow(ctx context.Context, seal string, digest rowseal.Digest, parquet bool) (p catalog.Proof, err error) {
	proved, err := dataset.ProveRow(ctx, seal, dataset.Row{Digest: rowseal.Hash(digest), Parquet: parquet})
	if err != nil {
		return p, err
	}
	p = catalog.Proof{Root: proved.Root, Member: proved.Member, Count: proved.Count, Note: proved.Note, Statement: proved.Statement, Spots: []catalog.Spot{}}
	for _, at := range proved.Places[:min(len(proved.Places), catalog.MaxRows)] {
		p.Spots = append(p.Spots, catalog.Spot(at))
	}
	return p, nil
}

// differences are what differs, as the catalog has it.
func differences(all []dataset.Difference) (d catalog.Differences) {
	d.Files = []catalog.Difference{}
	for _, f := range all[:min(len(all), catalog.MaxFiles)] {
		one := catalog.Difference{File: f.File, What: f.What, To: f.To, Note: f.Note, Changed: first(f.Changed), Removed: first(f.Removed), Added: first(f.Added), Blocks: first(f.Blocks)}
		if f.Counts != nil {
			one.Rows = f.Counts.Changed + f.Counts.Removed + f.Counts.Added
		}
		d.Files = append(d.Files, one)
	}
	d.More = len(all) - len(d.Files)
	return d
}

func first(rows []uint64) []uint64 { return rows[:min(len(rows), catalog.MaxRows)] }

// kept are the seals of the catalog, as what pipelines tell is held to them.
type kept struct{ *catalog.Catalog }

// Holdings looks for a row in them, by its digest.
//
// Unguarded: a room of the house asks it, whose own caller was let in.
func (k kept) Holdings(ctx context.Context, tenant string, row [32]byte) ([]lineage.Holding, error) {
	found, err := k.Holding(ctx, tenant, row)
	if err != nil {
		return nil, err
	}
	all := make([]lineage.Holding, 0, len(found))
	for _, f := range found {
		all = append(all, holding(f))
	}
	return all, nil
}

// holding is where a row stands, as lineage has it.
func holding(f catalog.Holding) lineage.Holding {
	h := lineage.Holding{Seal: f.Dataset.String(), Of: f.Called, Count: f.Count, Unsure: f.Unsure}
	if f.Root != (rowseal.Digest{}) {
		h.Root = f.Root.String()
		if f.Unsure != "" { // of which version, for a dataset may have many
			h.Unsure = fmt.Sprintf("of %s, root %.12s: %s", f.Dataset.ID, h.Root, f.Unsure)
		}
	}
	if f.Count > 0 && f.Called == (lineage.Dataset{}) && f.Unsure == "" {
		h.Unsure = "nobody said what events call " + f.Dataset.ID + ": who read it by that name is not known"
	}
	for _, spot := range f.Spots {
		h.Places = append(h.Places, lineage.Place(spot))
	}
	return h
}
