package lineage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

func someone(id string) pavise.Name { return pavise.Name{Tenant: "t", Kind: pavise.Workload, ID: id} }

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func at(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }

func runID(n int) string { return fmt.Sprintf("6f1c0000-0000-4000-8000-%012d", n) }

// told is an event as somebody sent it at a minute.
type told struct {
	event Event
	by    string
	at    int
}

// ran is an event of a run that read and wrote.
func ran(n, minute int, kind string, in, out []Use) told {
	return told{Event{At: at(minute), Type: kind, Producer: "p", Run: runID(n), Job: Dataset{"jobs", fmt.Sprintf("job%d", n)}, Inputs: in, Outputs: out}, "pipeline", minute}
}

// use is a dataset, with its root if it has one.
func use(name, root string) Use { return Use{Dataset: Dataset{"lake", name}, Root: root} }

func model(name string) Use { return Use{Dataset: Dataset{"mlflow", name}, Type: "MODEL"} }

// world is a graph of two seals of the dataset raw, and of the runs that tests speak of.
func world() (events []told, seals []Seal) {
	seals = []Seal{
		{Dataset{"lake", "raw"}, aRoot, 100, at(0)},
		{Dataset{"lake", "raw"}, bRoot, 101, at(5)},
		{Dataset{"lake", "clean"}, strings.Repeat("c", 64), 90, at(7)},
	}
	events = []told{
		ran(1, 10, "START", []Use{use("raw", aRoot)}, nil),                                          // read the state
		ran(1, 12, "COMPLETE", nil, []Use{use("clean", strings.Repeat("c", 64))}),                   // and wrote
		ran(2, 20, "COMPLETE", []Use{use("clean", strings.Repeat("c", 64))}, []Use{model("fraud")}), // trained on that
		ran(3, 21, "COMPLETE", []Use{use("raw", bRoot)}, []Use{model("spam")}),                      // read the other state
		ran(4, 22, "COMPLETE", []Use{use("raw", "")}, []Use{model("vague")}),                        // names no seal
		ran(5, 23, "COMPLETE", []Use{use("raw", strings.Repeat("d", 64))}, []Use{model("liar")}),    // names one that never was
		ran(6, 24, "COMPLETE", []Use{use("raw-copy", aRoot)}, []Use{model("copied")}),               // the same bytes elsewhere
		ran(7, 25, "COMPLETE", []Use{use("other", strings.Repeat("e", 64))}, []Use{model("apart")}), // nothing to do with it
	}
	return events, seals
}

func build(events []told, seals []Seal) *Graph {
	var g Graph
	for _, e := range events {
		g.Add(e.event, someone(e.by), at(e.at))
	}
	for _, s := range seals {
		g.AddSeal(s)
	}
	return &g
}

func TestJudge(t *testing.T) {
	g := build(world())
	rows := func(n int64) Use { u := use("raw", aRoot); u.Rows = n; return u }
	for name, c := range map[string]struct {
		use  Use
		want Standing
		says string
	}{
		"its seal":                   {use("raw", aRoot), Sealed, "made of this dataset"},
		"its seal, with its rows":    {rows(100), Sealed, ""},
		"its seal, with other rows":  {rows(99), Refuted, "says 99 rows"},
		"none":                       {use("raw", ""), Unsealed, "names no seal"},
		"none that it ever had":      {use("raw", strings.Repeat("d", 64)), Refuted, "none of them"},
		"one of another dataset":     {use("clean", aRoot), Refuted, "one of lake raw"},
		"one elsewhere, none here":   {use("raw-copy", aRoot), Unknown, "one of lake raw"},
		"one that nobody ever heard": {use("other", strings.Repeat("e", 64)), Unknown, "no seal"},
	} {
		got, why := g.Judge(c.use)
		if got != c.want || !strings.Contains(why, c.says) {
			t.Errorf("%s: %s, %q; want %s, %q", name, got, why, c.want, c.says)
		}
	}
}

func TestExposed(t *testing.T) {
	g := build(world())
	seen := g.Exposed([]string{aRoot})
	runs := map[string]string{}
	for _, e := range seen.Runs {
		runs[e.Run.ID] = fmt.Sprintf("%s %d", e.Sure, e.Steps)
	}
	want := map[string]string{
		runID(1): "proven 1", runID(2): "proven 2", runID(4): "possible 1", runID(5): "possible 1", runID(6): "claimed 1",
	}
	if fmt.Sprint(runs) != fmt.Sprint(want) {
		t.Errorf("runs %v\nwant %v", runs, want)
	}
	var models []string
	for _, e := range seen.Models {
		models = append(models, e.Dataset.Name+" "+string(e.Sure))
	}
	// A run that names no seal of the model that it wrote makes it no surer than claimed.
	if got := strings.Join(models, ", "); got != "copied claimed, fraud claimed, liar possible, vague possible" {
		t.Errorf("models: %s", got)
	}
	if len(seen.Datasets) != 1 || seen.Datasets[0].Dataset.Name != "clean" || seen.Datasets[0].Sure != Proven {
		t.Errorf("datasets: %+v", seen.Datasets)
	}
}

// TestExposedBySurestWay has two ways to a model: the longer one is the surer.
func TestExposedBySurestWay(t *testing.T) {
	c, d := strings.Repeat("c", 64), strings.Repeat("d", 64)
	g := build([]told{
		ran(1, 1, "COMPLETE", []Use{use("raw", aRoot)}, []Use{use("mid", c)}),
		ran(2, 2, "COMPLETE", []Use{use("mid", c)}, []Use{use("end", d)}),
		ran(3, 3, "COMPLETE", []Use{use("raw", ""), use("end", d)}, nil),
	}, []Seal{{Dataset: Dataset{"lake", "raw"}, Root: aRoot}, {Dataset: Dataset{"lake", "mid"}, Root: c}, {Dataset: Dataset{"lake", "end"}, Root: d}})
	for _, e := range g.Exposed([]string{aRoot}).Runs {
		if e.Run.ID == runID(3) && (e.Sure != Proven || e.Steps != 3) {
			t.Errorf("by the surest way it is proven in three steps, and not %s in %d: %s", e.Sure, e.Steps, e.Why)
		}
	}
}

// TestExposedByNameOfWhoNamesIt has one run name the bytes, and another read the same dataset
// and name none, where no seal is known of it.
func TestExposedByNameOfWhoNamesIt(t *testing.T) {
	g := build([]told{
		ran(1, 1, "COMPLETE", nil, []Use{use("raw", aRoot)}),
		ran(2, 2, "COMPLETE", []Use{use("raw", "")}, nil),
	}, nil)
	if e := g.Exposed([]string{aRoot}); len(e.Runs) != 1 || e.Runs[0].Run.ID != runID(2) || e.Runs[0].Sure != Possible {
		t.Errorf("%+v", e.Runs)
	}
}

// TestExposedByPlace has bytes found at a dataset's place that are none of its seals: who read
// the dataset by its name may have read them.
func TestExposedByPlace(t *testing.T) {
	raw, found := Dataset{"lake", "raw"}, strings.Repeat("f", 64)
	g := build([]told{
		ran(1, 1, "COMPLETE", []Use{use("raw", "")}, nil),
		ran(2, 2, "COMPLETE", []Use{use("raw", aRoot)}, nil), // other bytes, which were there
		ran(4, 4, "COMPLETE", []Use{use("other", "")}, nil),
	}, []Seal{{Dataset: raw, Root: aRoot}})
	for count, want := range map[uint64]string{1: runID(1) + " possible", 0: ""} {
		var said []string
		for _, e := range g.Exposed([]string{found}, Holding{Root: found, Count: count, Of: raw}).Runs {
			said = append(said, e.Run.ID+" "+string(e.Sure))
		}
		if got := strings.Join(said, ", "); got != want {
			t.Errorf("the row is in it %d times: %s, want %s", count, got, want)
		}
	}
}

// TestAModelStaysOne has somebody else call a model a table.
func TestAModelStaysOne(t *testing.T) {
	table := Use{Dataset: Dataset{"mlflow", "fraud"}, Type: "TABLE"}
	events := []told{ran(1, 1, "COMPLETE", []Use{use("raw", aRoot)}, []Use{model("fraud")}), {Event{At: at(2), Producer: "p", Outputs: []Use{table}}, "eve", 2}}
	for range 2 {
		slices.Reverse(events)
		if e := build(events, nil).Exposed([]string{aRoot}); len(e.Models) != 1 || len(e.Datasets) != 0 {
			t.Errorf("%+v", e)
		}
	}
}

// TestCycle has runs that read what they wrote.
func TestCycle(t *testing.T) {
	g := build([]told{
		ran(1, 1, "COMPLETE", []Use{use("raw", aRoot), use("loop", "")}, []Use{use("loop", "")}),
		ran(2, 2, "COMPLETE", []Use{use("loop", "")}, []Use{use("raw", "")}),
	}, nil)
	if got := len(g.Exposed([]string{aRoot}).Runs); got != 2 {
		t.Errorf("%d runs, and two read it", got)
	}
	if p := g.Around(Dataset{"lake", "raw"}, 0); len(p.Nodes) != 4 {
		t.Errorf("%d nodes, and there are four", len(p.Nodes))
	}
}

// TestOrderDoesNotMatter tells the same in a hundred orders, twice.
func TestOrderDoesNotMatter(t *testing.T) {
	events, seals := world()
	events = append(events,
		told{events[0].event, "stranger", 9}, // another teller, before
		ran(1, 12, "FAIL", nil, nil),         // at the same time as COMPLETE
		ran(1, 10, "RUNNING", []Use{use("raw", aRoot)}, nil),
		ran(2, 19, "START", nil, nil), // of a run that has one teller
	)
	events[len(events)-1].event.Job.Name = "as it began"
	draw := func(g *Graph) string {
		text, err := json.Marshal([]any{g.Around(Dataset{"lake", "clean"}, 0), g.Around(Dataset{"lake", "raw"}, 1), g.Exposed([]string{aRoot, bRoot})})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := draw(build(events, seals))
	random := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		again := slices.Concat(events, events[:3])
		random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		random.Shuffle(len(seals), func(i, j int) { seals[i], seals[j] = seals[j], seals[i] })
		if got := draw(build(again, append(slices.Clone(seals), seals[0]))); got != want {
			t.Fatalf("another order says\n%s\nand not\n%s", got, want)
		}
	}
}

// TestNobodyTakesARun has a stranger tell of somebody's run, with a time before its own:
// the run stays with who told first as we received it, and nothing is taken away.
func TestNobodyTakesARun(t *testing.T) {
	events, seals := world()
	forged := ran(1, 1, "START", []Use{use("innocent", "")}, nil)
	forged.by, forged.at, forged.event.Job.Name, forged.event.Parent = "stranger", 60, "harmless", runID(9)
	later := ran(1, 1<<20, "ABORT", nil, nil)
	later.by, later.at = "stranger", 61
	g := build(append(events, forged, later), seals)
	run := g.runs[runID(1)]
	if run.By != someone("pipeline") || run.Others != 1 || run.State != "COMPLETE" || run.Job.Name != "job1" || run.Parent != "" || !run.Begun.Equal(at(10)) {
		t.Errorf("%+v", run)
	}
	if e := g.Exposed([]string{aRoot}); len(e.Runs) == 0 || e.Runs[0].Run.ID != runID(1) {
		t.Error("the run is exposed no more")
	}
}

// TestSealedIsAnother holds the same claims to other seals: the first graph keeps its own.
func TestSealedIsAnother(t *testing.T) {
	g := build(world())
	other := g.Sealed([]Seal{{Dataset: Dataset{"lake", "other"}, Root: strings.Repeat("e", 64)}})
	for name, c := range map[string]struct {
		g    *Graph
		use  Use
		want Standing
	}{
		"as it was":       {g, use("raw", aRoot), Sealed},
		"with its own":    {other, use("other", strings.Repeat("e", 64)), Sealed},
		"without the old": {other, use("raw", aRoot), Unknown},
		"without the new": {g, use("other", strings.Repeat("e", 64)), Unknown},
	} {
		if got, why := c.g.Judge(c.use); got != c.want {
			t.Errorf("%s: %s, %s", name, got, why)
		}
	}
	if len(other.Datasets()) != len(g.Datasets()) {
		t.Error("it was told something else")
	}
	if got, _ := new(Graph).Sealed(nil).Judge(use("raw", aRoot)); got != Unknown {
		t.Error(got)
	}
}

// TestManyStatesOfOneDataset has an exposed run write a dataset in thousands of states, and
// thousands read it by its name: the answer gives up, and says so.
func TestManyStatesOfOneDataset(t *testing.T) {
	var states []Use
	for n := range 1100 {
		states = append(states, use("mid", fmt.Sprintf("%064x", n)))
	}
	events := []told{ran(0, 0, "COMPLETE", []Use{use("raw", aRoot)}, states)}
	for n := range 1000 {
		events = append(events, ran(n+1, n, "COMPLETE", []Use{use("mid", "")}, nil))
	}
	var s Sightings
	s.Look(build(events[:2], nil), []string{aRoot})
	if s.More || len(s.Unsure) != 0 {
		t.Errorf("of few: %+v", s.Unsure)
	}
	s.Look(build(events, nil), []string{aRoot})
	if !s.More || len(s.Runs) != 1001 || len(s.Unsure) != 1 || !strings.Contains(s.Unsure[0], "more claims") {
		t.Errorf("%d runs, more: %v, %v", len(s.Runs), s.More, s.Unsure)
	}
}

// TestOneRunOfManyDatasets goes through a run that reads and writes thousands, each of which
// is behind and after each.
func TestOneRunOfManyDatasets(t *testing.T) {
	var all []Use
	for n := range 5000 {
		all = append(all, use(fmt.Sprint("d", n), ""))
	}
	p := build([]told{ran(1, 1, "COMPLETE", all, all)}, nil).Around(Dataset{"lake", "d7"}, 0)
	if len(p.Nodes) != maxNodes || !p.More || len(p.Edges) > maxEdges {
		t.Errorf("%d nodes and %d edges, more: %v", len(p.Nodes), len(p.Edges), p.More)
	}
	var told []told
	for n := range maxEdges + 10 { // one claim in thousands of versions
		u := use("raw", "")
		u.Version = fmt.Sprint(n)
		told = append(told, ran(1, 1, "COMPLETE", []Use{u}, nil))
	}
	if p := build(told, nil).Around(Dataset{"lake", "raw"}, 0); len(p.Edges) != maxEdges || !p.More {
		t.Errorf("%d edges, more: %v", len(p.Edges), p.More)
	}
}

func TestPictureIsBounded(t *testing.T) {
	var out []Use
	for n := range 3 * maxNodes {
		out = append(out, use(fmt.Sprint("d", n), ""))
	}
	p := build([]told{ran(1, 1, "COMPLETE", []Use{use("raw", "")}, out)}, nil).Around(Dataset{"lake", "raw"}, 0)
	if len(p.Nodes) != maxNodes || !p.More {
		t.Errorf("%d nodes, more: %v", len(p.Nodes), p.More)
	}
	for _, e := range p.Edges {
		for _, end := range []string{e.From, e.To} {
			if !slices.ContainsFunc(p.Nodes, func(n Node) bool { return n.ID == end }) {
				t.Fatalf("an arrow to %s, which is not in the picture", end)
			}
		}
	}
}

func TestDepth(t *testing.T) {
	g := build(world())
	one, all := g.Around(Dataset{"mlflow", "fraud"}, 1), g.Around(Dataset{"mlflow", "fraud"}, 0)
	if len(one.Nodes) != 3 || len(all.Nodes) != 5 {
		t.Errorf("%d nodes one run away, %d in all; want 3 and 5", len(one.Nodes), len(all.Nodes))
	}
	if nobody := g.Around(Dataset{"no", "such"}, 0); len(nobody.Nodes) != 1 || len(nobody.Edges) != 0 {
		t.Errorf("%+v", nobody)
	}
}

func TestDOT(t *testing.T) {
	var g Graph
	g.Add(Event{At: noon, Type: "COMPLETE", Run: runID(1), Job: Dataset{"j", `x"]; evil [`}, Inputs: []Use{{Dataset: Dataset{"n", `a\" -> "b`}, Root: aRoot}}}, someone("a"), noon)
	g.AddSeal(Seal{Dataset: Dataset{"n", `a\" -> "b`}, Root: bRoot})
	var b bytes.Buffer
	if err := g.Around(Dataset{"n", `a\" -> "b`}, 0).WriteDOT(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{`"dataset n a\\\" -> \"b"`, `x\"]; evil [`, `color=red, style=dashed, label="refuted aaaaaaaa"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %s:\n%s", want, text)
		}
	}
	bare := strings.NewReplacer(`\\`, "", `\"`, "").Replace(text)
	if strings.Count(bare, `"`)%2 != 0 || strings.Contains(bare, "evil [\"") {
		t.Errorf("a name ends its quotes:\n%s", text)
	}
}

// TestSightingsOfOneDataset tells the contents of a dataset apart by their roots, and does not say
// that a row is not in one that nobody has.
func TestSightingsOfOneDataset(t *testing.T) {
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	var out strings.Builder
	(&Sightings{Holdings: []Holding{{Seal: "flows"}, {Seal: "flows", Root: one, Count: 2}, {Seal: "flows", Root: two}, {Seal: "rows", Root: two}}}).Print(&out)
	for _, want := range []string{"flows had contents that are not kept\n", "flows (root 111111111111…) has it, and 2 times in all\n", "flows (root 222222222222…) has no such row\n", "\nrows has no such row\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// TestReadsOfWhatNobodyHas is not sure that nobody saw a row that is in no seal, where a run says
// that it read other bytes of the dataset than those of any seal.
func TestReadsOfWhatNobodyHas(t *testing.T) {
	for _, c := range []struct {
		name, root string
		sure       bool
	}{{"a seal that is here", aRoot, true}, {"a seal that nobody has", bRoot, false}, {"no seal", "", true}} {
		g := build([]told{ran(1, 1, "COMPLETE", []Use{use("raw", c.root)}, nil)}, []Seal{{Dataset: use("raw", "").Dataset, Root: aRoot}})
		s := Sightings{}
		s.Look(g, nil)
		if sure := s.Settle() == nil; sure != c.sure || !sure && !strings.Contains(s.Unsure[0], "1 run read contents") {
			t.Errorf("%s: sure %v, %q", c.name, sure, s.Unsure)
		}
	}
}
