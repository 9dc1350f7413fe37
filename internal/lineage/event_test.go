package lineage

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	aRoot = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	bRoot = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	aRun  = "6f1c0000-0000-4000-8000-00000000000a"
)

// full is an event with all that is read of one, and with facets that are not.
const full = `{
	"eventTime": "2026-11-27T10:00:00.25+01:00", "eventType": "COMPLETE",
	"producer": "https://example.com/trainer", "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
	"run": {"runId": "6F1C0000-0000-4000-8000-00000000000A", "facets": {
		"parent": {"_producer": "p", "_schemaURL": "s", "run": {"runId": "6f1c0000-0000-4000-8000-00000000000b"}, "job": {"namespace": "n", "name": "dag"}},
		"processing_engine": {"version": "3.5", "Version": "3.6"}}},
	"job": {"namespace": "airflow", "name": "train"},
	"inputs": [{"namespace": "s3://lake", "name": "rows", "facets": {
		"pavise_seal": {"_producer": "p", "_schemaURL": "s", "root": "` + aRoot + `", "algorithm": "sha256", "rows": 12, "tlogIndex": 7, "proofURL": "https://x"},
		"version": {"datasetVersion": "v7"}, "schema": {"fields": [{"name": "a"}, {"name": "A"}]}}, "inputFacets": {}}],
	"outputs": [{"namespace": "mlflow", "name": "fraud", "facets": {"datasetType": {"datasetType": "MODEL"}}, "outputFacets": {}}]
}`

func TestParseEvent(t *testing.T) {
	got, err := ParseEvent([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	want := Event{
		At: time.Date(2026, 11, 27, 9, 0, 0, 250e6, time.UTC), Type: "COMPLETE", Producer: "https://example.com/trainer",
		Run: aRun, Parent: "6f1c0000-0000-4000-8000-00000000000b", Job: Dataset{"airflow", "train"},
		Inputs:  []Use{{Dataset: Dataset{"s3://lake", "rows"}, Root: aRoot, Rows: 12, Version: "v7"}},
		Outputs: []Use{{Dataset: Dataset{"mlflow", "fraud"}, Type: "MODEL"}},
	}
	if !got.At.Equal(want.At) {
		t.Errorf("at %v, want %v", got.At, want.At)
	}
	got.At = want.At
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestFacetsOfAUse has the seal among the facets of one use of a dataset.
func TestFacetsOfAUse(t *testing.T) {
	text := strings.Replace(strings.Replace(full, `"name": "rows", "facets"`, `"name": "rows", "inputFacets"`, 1), `, "inputFacets": {}}`, `}`, 1)
	if e, err := ParseEvent([]byte(text)); err != nil || e.Inputs[0].Root != aRoot || e.Inputs[0].Version != "v7" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestParseEventOfDatasetAndJob(t *testing.T) {
	const head = `{"eventTime": "2026-11-27T10:00:00Z", "producer": "p", "schemaURL": "s", `
	got, err := ParseEvent([]byte(head + `"run": null, "dataset": {"namespace": "n", "name": "d"}}`))
	if err != nil || len(got.Outputs) != 1 || got.Outputs[0].Name != "d" || got.Run != "" {
		t.Errorf("of a dataset: %+v, %v", got, err)
	}
	got, err = ParseEvent([]byte(head + `"job": {"namespace": "n", "name": "j"}, "inputs": [{"namespace": "n", "name": "d"}]}`))
	if err != nil || got.Job.Name != "j" || len(got.Inputs) != 1 {
		t.Errorf("of a job: %+v, %v", got, err)
	}
}

func TestParseEventRefuses(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(full, old) {
			t.Fatalf("%q is not in the event", old)
		}
		return strings.Replace(full, old, new, 1)
	}
	many := strings.TrimSuffix(strings.Repeat(`{"namespace":"n","name":"d"},`, 10_001), ",")
	for name, c := range map[string]struct{ text, says string }{
		"no object":             {`[]`, "does not begin"},
		"nothing":               {``, "breaks off"},
		"cut":                   {full[:len(full)-5], "breaks off"},
		"more behind":           {full + "{}", "stands behind"},
		"too long":              {full + strings.Repeat(" ", MaxEvent), "bytes"},
		"not UTF-8":             {swap("airflow", "air\xfflow"), "UTF-8"},
		"run twice":             {swap(`"job":`, `"run": {"runId": "6f1c0000-0000-4000-8000-00000000000c"}, "job":`), `"run" appears twice`},
		"root twice":            {swap(`"algorithm"`, `"root": "`+bRoot+`", "algorithm"`), "twice"},
		"of nothing":            {`{"eventTime": "2026-11-27T10:00:00Z", "producer": "p", "schemaURL": "s"}`, "no run, no job"},
		"no time":               {swap(`"eventTime"`, `"EventTime"`), "eventTime is missing"},
		"time without zone":     {swap("+01:00", ""), "not a time with its zone"},
		"no producer":           {swap(`"https://example.com/trainer"`, `""`), "producer is empty"},
		"no schema":             {swap(`"schemaURL"`, `"schema"`), "schemaURL is missing"},
		"type":                  {swap(`"COMPLETE"`, `"DONE"`), "eventType"},
		"run is a list":         {swap(`"run": {"runId": "6F1C0000-0000-4000-8000-00000000000A", "facets"`, `"run": [], "runs": {"facets"`), "its run is no object"},
		"no UUID":               {swap("6F1C0000-0000", "6F1C000-00000"), "run.runId"},
		"parent's UUID":         {swap("00000000000b", "00000000000x"), "run.facets.parent.run.runId"},
		"job without a name":    {swap(`"name": "train"`, `"nome": "train"`), "job.name is missing"},
		"inputs are no list":    {swap(`"inputs": [`, `"inputs": {}, "x": [`), "inputs is no list"},
		"input is no object":    {swap(`"inputs": [`, `"inputs": [7, `), "inputs[0] is no object"},
		"too many":              {swap(`"inputs": [`, `"inputs": [`+many+`,`), "10,000"},
		"too many on two sides": {strings.Replace(swap(`"inputs": [`, `"inputs": [`+many[:29*6000-1]+`,`), `"outputs": [`, `"outputs": [`+many[:29*6000-1]+`,`, 1), "12002 datasets"},
		"name that hides":       {swap(`"name": "rows"`, `"name": "rows\u202e"`), "cannot be seen"},
		"name is a number":      {swap(`"name": "rows"`, `"name": 3`), "inputs[0].name is no text"},
		"name too long":         {swap(`"name": "rows"`, `"name": "`+strings.Repeat("r", 2049)+`"`), "2049 bytes"},
		"facets are no object":  {swap(`"facets": {"datasetType": {"datasetType": "MODEL"}}`, `"facets": []`), "outputs[0].facets"},
		"root of other length":  {swap(aRoot, aRoot[1:]), "64 hex digits"},
		"root in capitals":      {swap(aRoot, strings.ToUpper(aRoot)), "64 hex digits"},
		"another algorithm":     {swap(`"sha256"`, `"md5"`), "md5"},
		"rows below nothing":    {swap(`"rows": 12`, `"rows": -1`), "no count"},
		"two seals":             {swap(`"inputFacets": {}`, `"inputFacets": {"pavise_seal": {"root": "`+bRoot+`"}}`), "another seal"},
		"rows in pieces":        {swap(`"rows": 12`, `"rows": 1.5`), "no count"},
	} {
		if _, err := ParseEvent([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, and it should say %q", name, err, c.says)
		}
	}
}

// FuzzParseEvent holds that what is read can be told to a graph, and that its names are
// ones that can be shown.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"eventTime": "2026-11-27T10:00:00Z", "producer": "p", "schemaURL": "s", "dataset": {"namespace": "n", "name": "d"}}`))
	f.Add([]byte(`{"run": {"runId": 0}, "run": {}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ParseEvent(text)
		if err != nil {
			return
		}
		if e.At.IsZero() && !strings.Contains(string(text), "0001-01-01") || e.Producer == "" {
			t.Errorf("read without a time or a producer: %+v", e)
		}
		for _, u := range append(e.Inputs, e.Outputs...) {
			if u.Namespace == "" || u.Name == "" || u.Root != "" && len(u.Root) != 64 || u.Rows < 0 {
				t.Errorf("read a dataset that is none: %+v", u)
			}
		}
		var g Graph
		g.Add(e, someone("a"), e.At)
		if e.Run != "" && g.runs[e.Run].State == "" {
			t.Error("a run without a state")
		}
		_ = fmt.Sprint(g.Exposed([]string{aRoot}))
	})
}
