package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// attrs are the attributes of a tree operator, which tests spoil.
type attrs map[string]any

// stumps are two trees over two columns, x[0] ≤ 0.5 and x[1] ≤ -1, whose leaves
// vote for three classes.
func stumps() attrs {
	return attrs{
		"nodes_treeids": []int64{0, 0, 0, 1, 1, 1}, "nodes_nodeids": []int64{0, 1, 2, 0, 1, 2},
		"nodes_modes":       []string{"BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"},
		"nodes_featureids":  []int64{0, 0, 0, 1, 0, 0},
		"nodes_values":      []float32{0.5, 0, 0, -1, 0, 0},
		"nodes_truenodeids": []int64{1, 0, 0, 1, 0, 0}, "nodes_falsenodeids": []int64{2, 0, 0, 2, 0, 0},
		"class_treeids": []int64{0, 0, 1, 1}, "class_nodeids": []int64{1, 2, 1, 2},
		"class_ids": []int64{0, 1, 2, 1}, "class_weights": []float32{1, 2, 3, 4},
		"classlabels_int64s": []int64{10, 20, 30},
	}
}

// ofTwo are the same trees, voting for one class of two.
func ofTwo(post string, weights ...float32) attrs {
	return stumps().with("class_ids", []int64{0, 0, 0, 0}).with("class_weights", weights).
		with("classlabels_int64s", []int64{10, 20}).with("post_transform", post)
}

// regression are the same trees as a regressor of one target.
func regression() attrs {
	a := stumps()
	delete(a, "classlabels_int64s")
	for _, name := range []string{"treeids", "nodeids", "ids", "weights"} {
		a["target_"+name] = a["class_"+name]
		delete(a, "class_"+name)
	}
	return a.with("n_targets", int64(3))
}

// with changes one attribute; nil takes it away.
func (a attrs) with(name string, value any) attrs {
	if a[name] = value; value == nil {
		delete(a, name)
	}
	return a
}

func (a attrs) list() []Attr {
	var list []Attr
	for name, v := range a {
		switch v := v.(type) {
		case []int64:
			list = append(list, Ints(name, v))
		case []float32:
			list = append(list, Floats(name, v))
		case []string:
			list = append(list, Texts(name, v))
		case string:
			list = append(list, Text(name, v))
		case int64:
			list = append(list, Int(name, v))
		}
	}
	return list
}

// model makes a classifier of the trees, or, without labels, a regressor.
func (a attrs) model() []byte {
	w := NewWriter("trees")
	x := w.Input("x", 2)
	if a["n_targets"] != nil {
		w.NodeML("TreeEnsembleRegressor", []string{"scores"}, []string{x}, a.list()...)
	} else {
		w.NodeML("TreeEnsembleClassifier", []string{"label", "scores"}, []string{x}, a.list()...)
		w.Output("label", 1)
	}
	w.Output("scores", 3)
	return w.Bytes()
}

func sigma(x float64) float32 { return float32(1 / (1 + math.Exp(-x))) }

// TestTrees holds what the specification says of scores, and which class is the
// best one.
func TestTrees(t *testing.T) {
	// The four ways through the trees: left left, left right, right left, right right.
	x := Matrix{Rows: 4, Cols: 2, Data: []float32{0, -2, 0, 0, 1, -2, 1, 0}}
	e := func(v float64) float32 { return float32(math.Exp(v)) }
	for _, tc := range []struct {
		name   string
		trees  attrs
		labels []float32
		scores []float32
	}{
		{"sums", stumps(), []float32{30, 20, 30, 20}, []float32{1, 0, 3, 1, 4, 0, 0, 2, 3, 0, 6, 0}},
		{"base", stumps().with("base_values", []float32{0, -3, 1}), []float32{30, 10, 30, 20},
			[]float32{1, -3, 4, 1, 1, 1, 0, -1, 4, 0, 3, 1}},
		{"equals", stumps().with("class_weights", []float32{1, 1, 1, 1}), []float32{10, 10, 20, 20},
			[]float32{1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 2, 0}},
		{"softmax", stumps().with("post_transform", "SOFTMAX").with("class_weights", []float32{0, 0, 1, 1}), []float32{30, 20, 30, 20},
			[]float32{1 / (2 + e(1)), 1 / (2 + e(1)), e(1) / (2 + e(1)), 1 / (2 + e(1)), e(1) / (2 + e(1)), 1 / (2 + e(1)),
				1 / (2 + e(1)), 1 / (2 + e(1)), e(1) / (2 + e(1)), 1 / (2 + e(1)), e(1) / (2 + e(1)), 1 / (2 + e(1))}},
		{"softmax of what is not zero", stumps().with("post_transform", "SOFTMAX_ZERO").with("class_weights", []float32{-1, -1, -1, -1}), []float32{10, 10, 20, 20},
			[]float32{0.5, 0, 0.5, 0.5, 0.5, 0, 0, 0.5, 0.5, 0, 1, 0}},
		{"softmax of zeros", stumps().with("post_transform", "SOFTMAX_ZERO").with("class_weights", []float32{0, 0, 0, 0}), []float32{10, 10, 10, 10}, make([]float32, 12)},
		{"logistic", stumps().with("post_transform", "LOGISTIC"), []float32{30, 20, 30, 20},
			[]float32{sigma(1), 0.5, sigma(3), sigma(1), sigma(4), 0.5, 0.5, sigma(2), sigma(3), 0.5, sigma(6), 0.5}},
		{"logistic beyond float32", stumps().with("post_transform", "LOGISTIC").with("class_weights", []float32{90, 90, 95, 95}), []float32{30, 20, 30, 20},
			[]float32{1, 0.5, 1, 1, 1, 0.5, 0.5, 1, 1, 0.5, 1, 0.5}},
		{"binary shares", ofTwo("NONE", 0, 0.25, 0.125, 0.5), []float32{10, 10, 10, 20},
			[]float32{0.875, 0.125, 0.5, 0.5, 0.625, 0.375, 0.25, 0.75}},
		{"binary logistic", ofTwo("LOGISTIC", -1, 2, -1.5, 0.5).with("base_values", []float32{0.25}), []float32{10, 10, 20, 20},
			[]float32{sigma(2.25), sigma(-2.25), sigma(0.25), sigma(-0.25), sigma(-0.75), sigma(0.75), sigma(-2.75), sigma(2.75)}},
		{"binary of nothing but positive votes", ofTwo("LOGISTIC", 0.1, 0.2, 0.1, 0.2), []float32{20, 20, 20, 20},
			[]float32{sigma(-0.2), sigma(0.2), sigma(-0.3), sigma(0.3), sigma(-0.3), sigma(0.3), sigma(-0.4), sigma(0.4)}},
		{"two classes", stumps().with("class_ids", []int64{0, 1, 0, 1}).with("classlabels_int64s", []int64{-1, 1}), []float32{-1, 1, -1, 1},
			[]float32{4, 0, 1, 4, 3, 2, 0, 6}},
		{"names of classes", stumps().with("classlabels_int64s", nil).with("classlabels_strings", []string{"a", "b", "c"}), nil,
			[]float32{1, 0, 3, 1, 4, 0, 0, 2, 3, 0, 6, 0}},
		{"regression", regression(), nil, []float32{1, 0, 3, 1, 4, 0, 0, 2, 3, 0, 6, 0}},
		{"regression with base", regression().with("n_targets", int64(1)).with("target_ids", []int64{0, 0, 0, 0}).with("base_values", []float32{10}), nil,
			[]float32{14, 15, 15, 16}},
		{"a leaf alone", attrs{
			"nodes_treeids": []int64{5}, "nodes_nodeids": []int64{7}, "nodes_modes": []string{"LEAF"}, "nodes_featureids": []int64{-1},
			"nodes_values": []float32{0}, "nodes_truenodeids": []int64{-1}, "nodes_falsenodeids": []int64{-1},
			"target_treeids": []int64{5}, "target_nodeids": []int64{7}, "target_ids": []int64{0}, "target_weights": []float32{3}, "n_targets": int64(1),
		}, nil, []float32{3, 3, 3, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, err := Parse(tc.trees.model())
			if err != nil {
				t.Fatal(err)
			}
			out, err := g.Run(map[string]Matrix{"x": x})
			if err != nil {
				t.Fatal(err)
			}
			if have, there := out["label"]; there != (tc.labels != nil) || there && !slices.Equal(have.Data, tc.labels) {
				t.Errorf("labels %v, want %v", have.Data, tc.labels)
			}
			if !closeTo(out["scores"].Data, tc.scores) {
				t.Errorf("scores %v, want %v", out["scores"].Data, tc.scores)
			}
		})
	}
}

// TestTreeComparisons holds every mode against the operator that it is named
// after, at the edges of float32 and with holes.
func TestTreeComparisons(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	edges := []float32{-inf, -math.MaxFloat32, -1, -math.SmallestNonzeroFloat32, float32(math.Copysign(0, -1)), 0, math.SmallestNonzeroFloat32, 0.5, 1, math.Nextafter32(1, 2), math.MaxFloat32, inf, nan}
	for mode, truth := range map[string]func(v, t float32) bool{
		"BRANCH_LEQ": func(v, t float32) bool { return v <= t }, "BRANCH_LT": func(v, t float32) bool { return v < t },
		"BRANCH_GTE": func(v, t float32) bool { return v >= t }, "BRANCH_GT": func(v, t float32) bool { return v > t },
		"BRANCH_EQ": func(v, t float32) bool { return v == t }, "BRANCH_NEQ": func(v, t float32) bool { return v != t },
	} {
		for _, threshold := range edges[:len(edges)-1] {
			for tracks := range 2 {
				a := stumps().with("nodes_modes", []string{mode, "LEAF", "LEAF", "LEAF", "LEAF", "LEAF"})
				a["nodes_values"].([]float32)[0] = threshold
				a["nodes_missing_value_tracks_true"] = []int64{int64(tracks), 0, 0}
				for name, v := range a {
					switch v := v.(type) {
					case []int64:
						a[name] = v[:min(len(v), 3)]
					case []float32:
						a[name] = v[:min(len(v), 3)]
					case []string:
						a[name] = v[:3]
					}
				}
				for _, name := range []string{"class_treeids", "class_nodeids", "class_ids"} {
					a[name] = a[name].([]int64)[:2]
				}
				a["class_weights"] = []float32{1, 1}
				g, err := Parse(a.model())
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range edges {
					want := float32(20)
					if truth(v, threshold) || v != v && tracks == 1 {
						want = 10
					}
					out, err := g.Run(map[string]Matrix{"x": {Rows: 1, Cols: 2, Data: []float32{v, 0}}})
					if err != nil || out["label"].Data[0] != want {
						t.Errorf("%v %s %v, missing values track true: %d: class %v, want %v (%v)", v, mode, threshold, tracks, out["label"].Data, want, err)
					}
				}
			}
		}
	}
}

// TestHostileTrees holds attributes that are no trees, or that two runtimes
// could read as two models.
func TestHostileTrees(t *testing.T) {
	set := func(name string, i int, v int64) attrs {
		a := stumps()
		a[name].([]int64)[i] = v
		return a
	}
	for name, tc := range map[string]struct {
		trees attrs
		want  string
	}{
		"no nodes":               {stumps().with("nodes_nodeids", nil), "0 nodes"},
		"fewer modes":            {stumps().with("nodes_modes", []string{"LEAF"}), "nodes_modes has 1 elements for 6 nodes"},
		"fewer features":         {stumps().with("nodes_featureids", []int64{0}), "nodes_featureids has 1"},
		"fewer trees":            {stumps().with("nodes_treeids", nil), "nodes_treeids has 0"},
		"fewer values":           {stumps().with("nodes_values", []float32{1}), "nodes_values has 1"},
		"fewer true branches":    {stumps().with("nodes_truenodeids", []int64{1}), "nodes_truenodeids has 1"},
		"fewer false branches":   {stumps().with("nodes_falsenodeids", []int64{1}), "nodes_falsenodeids has 1"},
		"fewer holes":            {stumps().with("nodes_missing_value_tracks_true", []int64{1}), "nodes_missing_value_tracks_true has 1"},
		"fewer rates":            {stumps().with("nodes_hitrates", []float32{1}), "nodes_hitrates has 1"},
		"no votes":               {stumps().with("class_weights", nil), "0 weights with 4 ids"},
		"fewer votes":            {stumps().with("class_ids", []int64{0}), "4 weights with 1 ids"},
		"wrong type":             {stumps().with("nodes_values", []int64{1}), "type"},
		"unknown mode":           {stumps().with("nodes_modes", []string{"BRANCH_MEMBER", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"}), `"BRANCH_MEMBER"`},
		"feature":                {set("nodes_featureids", 3, 2), "node 0 of tree 1: feature 2 of 2"},
		"negative feature":       {set("nodes_featureids", 0, -1), "feature -1"},
		"feature of 32 bits":     {set("nodes_featureids", 0, 1<<32), "feature 4294967296"},
		"feature of 16 bits":     {set("nodes_featureids", 0, 1<<16), "feature 65536"},
		"no such child":          {set("nodes_truenodeids", 0, 9), "names node 9"},
		"child beyond 32 bits":   {set("nodes_falsenodeids", 0, 1<<32+1), "names node 4294967297"},
		"itself":                 {set("nodes_truenodeids", 0, 0), "leads to itself"},
		"one child":              {set("nodes_truenodeids", 0, 2), "two branches"},
		"node twice":             {set("nodes_nodeids", 2, 1), "node 1 of tree 0 is there twice"},
		"trees mixed":            {set("nodes_treeids", 2, 1), "node 2 of tree 1 is there twice"},
		"trees apart":            {stumps().with("nodes_treeids", []int64{0, 0, 1, 1, 1, 0}), "stand together"},
		"hole of 2":              {stumps().with("nodes_missing_value_tracks_true", []int64{2, 0, 0, 0, 0, 0}), "tracks_true is 2"},
		"threshold":              {stumps().with("nodes_values", []float32{float32(math.NaN()), 0, 0, 0, 0, 0}), "not a number"},
		"vote of nobody":         {set("class_nodeids", 0, 9), "node 9 of tree 0, which does not exist"},
		"vote of another forest": {set("class_treeids", 0, 9), "tree 9"},
		"vote of a branch":       {set("class_nodeids", 0, 0), "no leaf"},
		"vote for nobody":        {set("class_ids", 0, 3), "column 3 of 3"},
		"vote below":             {set("class_ids", 0, -1), "column -1"},
		"vote twice":             {stumps().with("class_nodeids", []int64{1, 1, 1, 1}).with("class_treeids", []int64{0, 0, 0, 0}).with("class_ids", []int64{0, 1, 1, 2}), "votes twice"},
		"vote of NaN":            {stumps().with("class_weights", []float32{1, 2, float32(math.NaN()), 4}), "vote 2 is not a finite"},
		"vote of infinity":       {stumps().with("class_weights", []float32{1, 2, 3, float32(math.Inf(1))}), "vote 3"},
		"base":                   {stumps().with("base_values", []float32{1}), "1 base_values for 3 classes"},
		"base of NaN":            {stumps().with("base_values", []float32{1, 2, float32(math.NaN())}), "finite"},
		"probit":                 {stumps().with("post_transform", "PROBIT"), `"PROBIT"`},
		"no labels":              {stumps().with("classlabels_int64s", nil), "exactly one"},
		"two labels":             {stumps().with("classlabels_strings", []string{"a", "b", "c"}), "exactly one"},
		"one label":              {stumps().with("classlabels_int64s", []int64{1}).with("class_ids", []int64{0, 0, 0, 0}), "1 classes"},
		"label beyond float32":   {stumps().with("classlabels_int64s", []int64{1, 2, 1 << 40}), "2^24"},
		"doubles":                {stumps().with("nodes_values_as_tensor", "x"), "nodes_values_as_tensor"},
		"binary softmax":         {ofTwo("SOFTMAX", 1, 2, 3, 4), "differently"},
		"binary mixed":           {ofTwo("NONE", 1, -2, 3, 4), "differently"},
		"binary base":            {ofTwo("LOGISTIC", 1, -2, 3, 4).with("base_values", []float32{1, 2}), "at most one"},
		"binary second":          {ofTwo("LOGISTIC", 1, -2, 3, 4).with("class_ids", []int64{1, 1, 1, 1}), "second"},
		"average":                {regression().with("aggregate_function", "AVERAGE"), `"AVERAGE"`},
		"no targets":             {regression().with("n_targets", int64(0)), "n_targets=0"},
		"many targets":           {regression().with("n_targets", int64(1<<40)), "n_targets=1099511627776"},
		"regression base":        {regression().with("base_values", []float32{1}), "1 base_values for 3 targets"},
		"logistic regression":    {regression().with("n_targets", int64(1)).with("target_ids", []int64{0, 0, 0, 0}).with("post_transform", "LOGISTIC"), "single target"},
		"probit regression":      {regression().with("post_transform", "PROBIT"), `"PROBIT"`},
		"root that is no root": {stumps().with("nodes_modes", []string{"LEAF", "BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"}).
			with("nodes_truenodeids", []int64{0, 0, 0, 1, 0, 0}).with("nodes_falsenodeids", []int64{0, 2, 0, 2, 0, 0}), "must be its root"},
		"second root": {stumps().with("nodes_treeids", []int64{0, 0, 0, 0, 0, 0}).with("nodes_nodeids", []int64{0, 1, 2, 3, 4, 5}).
			with("nodes_truenodeids", []int64{1, 0, 0, 4, 0, 0}).with("nodes_falsenodeids", []int64{2, 0, 0, 5, 0, 0}).with("class_treeids", []int64{0, 0, 0, 0}), "second root or a cycle"},
		"cycle apart": {stumps().with("nodes_treeids", []int64{0, 0, 0, 0, 0, 0}).with("nodes_nodeids", []int64{0, 1, 2, 3, 4, 5}).
			with("nodes_modes", []string{"BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF"}).
			with("nodes_truenodeids", []int64{1, 0, 0, 4, 3, 0}).with("nodes_falsenodeids", []int64{2, 0, 0, 5, 3, 0}).with("class_treeids", []int64{0, 0, 0, 0}), "two branches"},
		"cycle": {stumps().with("nodes_treeids", []int64{0, 0, 0, 0, 0, 0}).with("nodes_nodeids", []int64{0, 1, 2, 3, 4, 5}).
			with("nodes_modes", []string{"LEAF", "BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"}).
			with("nodes_truenodeids", []int64{0, 3, 0, 1, 0, 0}).with("nodes_falsenodeids", []int64{0, 2, 0, 4, 0, 0}).
			with("class_treeids", []int64{0, 0, 0, 0}).with("class_nodeids", []int64{0, 2, 4, 5}), "second root or a cycle"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tc.trees.model(), tc.want) })
	}
}

// chain is one tree that branches to one side only.
func chain(depth int) []byte {
	a := attrs{}
	var ids, trees, features, yes, no []int64
	var modes []string
	for i := range 2*depth + 1 {
		ids, trees, features = append(ids, int64(i)), append(trees, 0), append(features, 0)
		mode, left, right := "LEAF", int64(0), int64(0)
		if i%2 == 0 && i < 2*depth {
			mode, left, right = "BRANCH_LEQ", int64(i+1), int64(i+2)
		}
		modes, yes, no = append(modes, mode), append(yes, left), append(no, right)
	}
	a["nodes_nodeids"], a["nodes_treeids"], a["nodes_featureids"], a["nodes_modes"] = ids, trees, features, modes
	a["nodes_truenodeids"], a["nodes_falsenodeids"], a["nodes_values"] = yes, no, make([]float32, len(ids))
	a["target_treeids"], a["target_nodeids"], a["target_ids"] = []int64{0}, []int64{int64(2 * depth)}, []int64{0}
	a["target_weights"], a["n_targets"] = []float32{1}, int64(1)
	return a.model()
}

func TestDeepTrees(t *testing.T) {
	g, err := Parse(chain(MaxTreeDepth))
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.Run(map[string]Matrix{"x": {Rows: 1, Cols: 2, Data: []float32{1, 0}}})
	if err != nil || out["scores"].Data[0] != 1 {
		t.Errorf("the deepest leaf gives %v: %v", out["scores"].Data, err)
	}
	refused(t, chain(MaxTreeDepth+1), "deeper than 1024")
}

// TestTextsAreNoNumbers holds what may be done with the name of a class: nothing
// but to be an output beside the scores.
func TestTextsAreNoNumbers(t *testing.T) {
	texts := func(build func(w *Writer), outputs ...string) []byte {
		w := NewWriter("texts")
		w.NodeML("TreeEnsembleClassifier", []string{"label", "scores"}, []string{w.Input("x", 2)},
			stumps().with("classlabels_int64s", nil).with("classlabels_strings", []string{"a", "b", "c"}).list()...)
		build(w)
		for _, out := range outputs {
			w.Output(out, 3)
		}
		return w.Bytes()
	}
	zip := func(w *Writer) {
		w.Node("Cast", "name", []string{"label"}, Int("to", typeString))
		w.NodeML("ZipMap", []string{"maps"}, []string{"scores"}, Texts("classlabels_strings", []string{"a", "b", "c"}))
	}
	g, err := Parse(texts(zip, "name", "maps"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Port{{"maps", 3}}; !slices.Equal(g.Outputs(), want) {
		t.Errorf("outputs %v, want %v", g.Outputs(), want)
	}
	for name, tc := range map[string]struct {
		model []byte
		want  string
	}{
		"only texts":     {texts(func(*Writer) {}, "label"), "texts"},
		"a number of it": {texts(func(w *Writer) { w.Node("Cast", "y", []string{"label"}, Int("to", typeFloat)) }, "y"), "text"},
		"compared": {texts(func(w *Writer) {
			w.Node("Reshape", "l", []string{"label", w.Ints("shape", []int64{-1, 1})})
			w.Node("Equal", "y", []string{"l", "l"})
		}, "y"), "text"},
		"fewer names": {texts(func(w *Writer) {
			w.NodeML("ZipMap", []string{"maps"}, []string{"scores"}, Texts("classlabels_strings", []string{"a", "b"}))
		}, "maps"), "2 classes for 3 columns"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tc.model, tc.want) })
	}
}

// randomForest are trees of the given number of leaves over the given number of
// columns, each leaf voting for one of five classes.
func randomForest(rng *rand.Rand, trees, leaves, cols int) []byte {
	a := attrs{"classlabels_int64s": []int64{0, 1, 2, 3, 4}, "post_transform": "SOFTMAX"}
	var ids, in, features, yes, no, voters, voterTrees, classes []int64
	var modes []string
	var values, weights []float32
	for t := range trees {
		first := len(ids)
		grow := func() {
			ids, in, features = append(ids, int64(len(ids)-first)), append(in, int64(t)), append(features, 0)
			yes, no, values, modes = append(yes, 0), append(no, 0), append(values, 0), append(modes, "LEAF")
		}
		grow()
		ends := []int{first}
		for len(ends) < leaves {
			k := rng.IntN(min(len(ends), 8))
			at := ends[k]
			modes[at], features[at], values[at] = "BRANCH_LEQ", int64(rng.IntN(cols)), float32(rng.NormFloat64())
			yes[at], no[at] = int64(len(ids)-first), int64(len(ids)-first+1)
			ends = append(slices.Delete(ends, k, k+1), len(ids), len(ids)+1)
			grow()
			grow()
		}
		for _, at := range ends {
			voters, voterTrees, classes = append(voters, ids[at]), append(voterTrees, int64(t)), append(classes, int64(t%5))
			weights = append(weights, float32(rng.NormFloat64()))
		}
	}
	a["nodes_nodeids"], a["nodes_treeids"], a["nodes_featureids"], a["nodes_modes"], a["nodes_values"] = ids, in, features, modes, values
	a["nodes_truenodeids"], a["nodes_falsenodeids"] = yes, no
	a["class_treeids"], a["class_nodeids"], a["class_ids"], a["class_weights"] = voterTrees, voters, classes, weights
	w := NewWriter("forest")
	w.NodeML("TreeEnsembleClassifier", []string{"label", "scores"}, []string{w.Input("x", cols)}, a.list()...)
	w.Output("scores", 5)
	return w.Bytes()
}

// BenchmarkTrees is a forest of 100 trees of 64 leaves.
func BenchmarkTrees(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	g, err := Parse(randomForest(rng, 100, 64, 41))
	if err != nil {
		b.Fatal(err)
	}
	for _, rows := range []int{1, 32, 1024} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			in := map[string]Matrix{"x": randomMatrix(rng, rows, 41)}
			for b.Loop() {
				if _, err := g.Run(in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows)/1000, "µs/row")
		})
	}
}
