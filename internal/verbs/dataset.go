package verbs

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/runner"
)

// maxSealBody is the body of dataset.seal: a seal of the longest, in base64, and the rest.
const maxSealBody = 24 << 20

func (rooms *Rooms) datasetVerbs() []api.Verb {
	on := []string{catalog.Kind}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "dataset.seal", On: on, MaxBody: maxSealBody, WireOnly: true, // the command seals first, where the data are
			Help:  "Hand over the seal of a dataset",
			About: "It is the newest version from then on. The seal alone is handed over, neither the data nor the index.",
		}, withCatalog(rooms, (*catalog.Catalog).Seal)),
		api.Do(api.Verb{
			Name: "dataset.watch", On: on,
			Help:    "Have the server seal a dataset, and look at it again and again",
			About:   "What is found first is the dataset, if it has no version yet; what is found later and is another content is a finding, and is the dataset once others approved it: pavise dataset accept. Most looks are fast: they believe that a file is the same whose size, times and inode are. Every --full th reads everything. With --screen each new content is screened for poison: pavise dataset report. On a dataset that is watched, what is left out stays as it is, but for --by-block and --format. The server looks below the directories alone that pavise.yaml names: datasets.",
			Example: "pavise dataset watch flows --from file:///srv/lake/flows.csv --every 1h --called s3://lake/flows",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetWatch) (catalog.View, error) {
			spec, err := req.spec()
			if err != nil {
				return catalog.View{}, err
			}
			return c.Watch(ctx, who, spec)
		})),
		api.Do(api.Verb{
			Name: "dataset.check", On: on,
			Help:    "Look at a watched dataset now",
			About:   "It answers once that is done, or after twenty seconds: then it is looked at still, and pavise dataset show says what comes of it. With --full everything is read.",
			Example: "pavise dataset check flows --full",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetCheck) (catalog.View, error) {
			return c.Check(ctx, who, req.Name, req.Full)
		})),
		api.Proposing(api.Verb{
			Name: "dataset.accept", On: on,
			Help:    "Propose that what was found in the place of a dataset is the dataset from now on",
			About:   "Others approve the root that they looked at: when another content is found meanwhile, the approvals are dead. Who set the watch does not count among them.",
			Example: "pavise dataset accept flows --root ROOT --reason daily-delivery",
		}, func(_ context.Context, _ pavise.Principal, req DatasetAccept) (pavise.Name, error) {
			return req.Name, nil
		}, func(req DatasetAccept) (any, error) { return catalog.Acceptance{Root: req.Root}, nil }),
		api.Do(api.Verb{
			Name: "dataset.screen", On: on, WireOnly: true, // the command screens files, too, and waits for the report
			Help:  "Have the server screen the rows of a watched dataset for poison",
			About: "What was found at its place is screened, if that is not the newest version, and else that is; in the background, one dataset of a tenant at a time. dataset.report says what comes of it. Nothing is deleted or changed.",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetScreen) (catalog.Reported, error) {
			return c.Screen(ctx, who, catalog.ScreenSpec{Name: req.Name, Terms: catalog.Terms{Label: req.Label, Source: req.Source, Omit: req.Omit}, Baseline: req.Baseline})
		})),
		api.Do(api.Verb{
			Name: "dataset.report", On: on,
			Help:    "Show what came of screening a dataset for poison",
			About:   "Of the last screening, or that of a version. What it says is of the bytes with the root that it names. Rows are told by file and number, with the reasons, up to a thousand; the values that a reason names are those of the row.",
			Example: "pavise dataset report flows",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetReport) (catalog.Reported, error) {
			return c.Report(ctx, who, req.Name, req.Version)
		})),
		api.Do(api.Verb{
			Name: "dataset.list", On: on, Class: guard.Pooled,
			Help:    "List the datasets that the server knows",
			About:   "sealed: the newest version was seen there last, or its seal was handed over; changed: another content lies there; unreachable: nobody can say; checking: it is looked at for the first time.",
			Example: "pavise dataset list --state changed",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetList) (catalog.List, error) {
			return c.List(ctx, who, catalog.State(req.State))
		})),
		api.Do(api.Verb{
			Name: "dataset.show", On: on, Class: guard.Pooled,
			Help:    "Show a dataset: its versions, when it was looked at, and what differs",
			About:   "The newest hundred versions, each with who made it so. Rows are listed up to twenty of a kind and file.",
			Example: "pavise dataset show flows",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetRef) (catalog.Shown, error) {
			return c.Show(ctx, who, req.Name)
		})),
		api.Do(api.Verb{
			Name: "dataset.compare", On: on, Class: guard.Pooled,
			Help:    "Say what lies between two versions of a dataset",
			About:   "By their seals: no data are read. Rows are named where the server found both versions itself, up to twenty of a kind and file; of a seal that was handed over there is no index here. What lies at the dataset's place and is no version, pavise dataset show compares with the newest. Of seals in files, pavise dataset diff says the same.",
			Example: "pavise dataset compare flows --from 1 --to 2",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetCompare) (catalog.Compared, error) {
			return c.Diff(ctx, who, req.Name, req.From, req.To)
		})),
		api.Do(api.Verb{
			Name: "dataset.prove", On: on, WireOnly: true, // the command reads the row, and checks the proof
			Help:  "Prove that a row is in a version of a dataset, or that none like it is",
			About: "The digest of the row is given, and not the row; the log has neither. The proof is an in-toto statement that pavise dataset prove --check holds to the root of the version. It takes a version whose index is kept.",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetProve) (catalog.Proof, error) {
			spec := catalog.ProofSpec{Name: req.Name, Version: req.Version, Parquet: req.Parquet}
			if err := spec.Digest.UnmarshalText([]byte(req.Row)); err != nil {
				return catalog.Proof{}, &pavise.Error{Kind: pavise.Invalid, Msg: "row " + err.Error(), Hint: "it is SHA-256 of a zero byte and the row, in 64 hex digits", Err: err}
			}
			return c.Prove(ctx, who, spec)
		})),
		api.Do(api.Verb{
			Name: "dataset.unwatch", On: on,
			Help:    "Look at a dataset no more",
			About:   "Its versions are kept, and seals of it may be handed over again. That somebody did this is a finding.",
			Example: "pavise dataset unwatch flows --reason the-feed-has-ended",
		}, withCatalog(rooms, func(c *catalog.Catalog, ctx context.Context, who pavise.Principal, req DatasetUnwatch) (catalog.View, error) {
			return c.Unwatch(ctx, who, req.Name, req.Reason)
		})),
	}
}

// withCatalog does a verb on the datasets, where some are known.
func withCatalog[Req, Resp any](rooms *Rooms, do func(*catalog.Catalog, context.Context, pavise.Principal, Req) (Resp, error)) func(context.Context, pavise.Principal, Req) (Resp, error) {
	return func(ctx context.Context, who pavise.Principal, req Req) (none Resp, err error) {
		if rooms.Catalog == nil {
			return none, runner.ErrNoCatalog
		}
		return do(rooms.Catalog, ctx, who, req)
	}
}

// DatasetRef names a dataset.
type DatasetRef struct {
	Name pavise.Name `json:"name" arg:"" help:"the dataset's name: its id, or tenant/dataset/id" doc:"the dataset's name, as tenant/dataset/id"`
}

// DatasetWatch says what is to be watched, and how.
type DatasetWatch struct {
	DatasetRef
	From    string   `json:"from" required:"true" placeholder:"URL" help:"where it lies: file:///srv/lake/flows.csv, a file or a directory of the server, or s3://BUCKET/PREFIX (gs://, az://)" doc:"where it lies, as the server sees it: file:// and a path, or the address of a bucket below a root of its configuration"`
	Every   string   `json:"every,omitempty" placeholder:"TIME" help:"how often it is looked at, 1m to 31d (default: 1h)" doc:"how often it is looked at, 1m to 31d; absent: 1h, or as before"`
	Full    int      `json:"full,omitempty" placeholder:"N" help:"read everything each so many looks (default: 24)" doc:"everything is read each so many looks; absent: 24, or as before" minimum:"0" maximum:"1000"`
	ByBlock []string `json:"by_block,omitempty" placeholder:"PATTERN" help:"seal files of this name by their bytes alone, with * and ? for any; may be repeated" doc:"names of files that are sealed by their bytes alone, with * and ?"`
	Format  string   `json:"format,omitempty" enum:"csv,jsonl,parquet,blocks," default:"" placeholder:"FORM" help:"take every file for this instead of what its name says: csv, jsonl, parquet or blocks" doc:"what every file is taken for; absent: what its name says"`
	Called  string   `json:"called,omitempty" placeholder:"NAMESPACE/NAME" help:"what OpenLineage events call it" doc:"what OpenLineage events call it"`

	Screen       string   `json:"screen,omitempty" placeholder:"COLUMN" help:"screen each new content for poison, by this column with the class, against the version before it" doc:"each new content is screened for poison, by this column with the class; absent: as before"`
	ScreenSource string   `json:"screen_source,omitempty" placeholder:"COLUMN" help:"with --screen: the column that says who sent the row" doc:"with screen: the column that says who sent a row"`
	ScreenOmit   []string `json:"screen_omit,omitempty" placeholder:"COLUMN" help:"with --screen: a column that is no feature; may be repeated" doc:"with screen: columns that are no features"`
	Unscreened   bool     `json:"unscreened,omitempty" help:"screen what is new no longer" doc:"what is new is screened no longer"`
}

func (r DatasetWatch) spec() (spec catalog.WatchSpec, err error) {
	spec = catalog.WatchSpec{Name: r.Name, Place: catalog.Place{URL: r.From, Format: r.Format, ByBlock: r.ByBlock}, Full: r.Full, Called: r.Called, Unscreened: r.Unscreened}
	switch {
	case r.Screen != "" && !r.Unscreened:
		spec.Screen = &catalog.Terms{Label: r.Screen, Source: r.ScreenSource, Omit: r.ScreenOmit}
	case r.Screen != "" || r.ScreenSource != "" || len(r.ScreenOmit) > 0:
		return spec, &pavise.Error{Kind: pavise.Invalid, Msg: "what is new is to be screened, or is not", Hint: "name the column with the class: --screen COLUMN, with --screen-source and --screen-omit as needed; or give --unscreened alone"}
	}
	if r.Every != "" {
		if spec.Every, err = archive.ParseSpan(r.Every); err != nil || spec.Every < time.Second {
			return spec, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("every %.40q", r.Every), Hint: "say how often, from 1m to 31d: --every 1h", Err: err}
		}
	}
	return spec, nil
}

// DatasetCheck asks for a look.
type DatasetCheck struct {
	DatasetRef
	Full bool `json:"full,omitempty" help:"read everything" doc:"everything is read"`
}

// DatasetScreen asks for a screening.
type DatasetScreen struct {
	DatasetRef
	Label    string   `json:"label" minLength:"1" maxLength:"2048" doc:"the column with the class: its name, or its position from 0"`
	Source   string   `json:"source,omitempty" doc:"the column that says who sent a row"`
	Omit     []string `json:"omit,omitempty" maxItems:"64" doc:"columns that are no features, such as numbers of rows"`
	Baseline int      `json:"baseline,omitempty" doc:"the number of a version whose rows are trusted; absent: none are" minimum:"0" maximum:"10000"`
}

// DatasetReport asks what came of a screening.
type DatasetReport struct {
	DatasetRef
	Version int `json:"version,omitempty" placeholder:"N" help:"of this version (default: the screening that was asked for last)" doc:"the number of a version; absent: the screening that was asked for last" minimum:"0" maximum:"10000"`
}

// DatasetAccept proposes that what was found is the dataset.
type DatasetAccept struct {
	DatasetRef
	Root   string `json:"root" required:"true" minLength:"8" maxLength:"64" help:"the root of what was found, or its first eight digits: pavise dataset show has it" doc:"the root of what was found, or at least its first eight digits"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r DatasetAccept) Why() string { return r.Reason }

// DatasetList asks for datasets.
type DatasetList struct {
	State string `json:"state,omitempty" enum:"sealed,changed,unreachable,checking," default:"" placeholder:"STATE" help:"only those that are sealed, changed, unreachable or checking" doc:"only those that stand so"`
}

// DatasetCompare asks what lies between two versions.
type DatasetCompare struct {
	DatasetRef
	From int `json:"from,omitempty" placeholder:"N" help:"the older version (default: the one before --to)" doc:"the number of the older version; absent: the one before to" minimum:"0" maximum:"10000"`
	To   int `json:"to,omitempty" placeholder:"N" help:"the newer version (default: the newest)" doc:"the number of the newer version; absent: the newest" minimum:"0" maximum:"10000"`
}

// DatasetProve asks for a proof about a row.
type DatasetProve struct {
	DatasetRef
	Row     string `json:"row" minLength:"64" maxLength:"64" doc:"the digest by which seals know the row (docs/formats/seal.md), in 64 hex digits"`
	Version int    `json:"version,omitempty" doc:"the number of a version; absent: the newest" minimum:"0" maximum:"10000"`
	Parquet bool   `json:"parquet,omitempty" doc:"the row is one of Parquet, whose encoding is another than that of text"`
}

// DatasetUnwatch ends a watch.
type DatasetUnwatch struct {
	DatasetRef
	Reason string `json:"reason" required:"true" minLength:"1" maxLength:"1000" help:"why" doc:"why, for people"`
}

// Between two questions of somebody who waits how far a screening is, so long passes.
const (
	screeningSoon = 500 * time.Millisecond // at first, and then longer and longer
	screeningLate = 5 * time.Second
)

// Screened has a server screen a dataset, waits until that has ended, and returns what came of it.
// Whoever waits no longer ends nothing: the server goes on. The report is asked for once, at the
// end, for that is a record; that somebody waits is none to speak of.
func Screened(ctx context.Context, client *api.Client, ask DatasetScreen, say func(progress string)) (r catalog.Reported, err error) {
	if err := client.Call(ctx, "dataset.screen", ask, &r); err != nil {
		return r, err
	}
	asked := r.Screening
	gone := func(now *catalog.Screening) error {
		if now != nil && now.Root == asked.Root && now.Asked.Equal(asked.Asked) {
			return nil
		}
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("another screening of %s was asked for meanwhile, or what was to be screened is gone", ask.Name), Hint: "pavise dataset report " + ask.Name.ID + " says how it stands"}
	}
	for pause := screeningSoon; ; pause = min(pause*3/2, screeningLate) {
		var shown catalog.Shown
		if err = client.Call(ctx, "dataset.show", ask.DatasetRef, &shown); err == nil {
			err = gone(shown.Screening)
		}
		if err != nil {
			return r, err
		}
		if s := shown.Screening.State; s != catalog.ScreenWaiting && s != catalog.ScreenUnderWay {
			break
		}
		if say != nil {
			say(cmp.Or(shown.Said, "it waits for its turn …"))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	r = catalog.Reported{}
	if err = client.Call(ctx, "dataset.report", DatasetReport{DatasetRef: ask.DatasetRef}, &r); err == nil {
		err = gone(&r.Screening)
	}
	return r, err
}
