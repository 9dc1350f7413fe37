package learn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pavise/pavise/internal/onnx"
)

// A TreeConfig says how TrainTrees fits trees.
type TreeConfig struct {
	Classes int // number of classes, at least 2
	Leaves  int // most leaves of a tree, at least 2; 31 is usual
	Depth   int // most branches between root and leaf; 0 leaves it to Leaves
	MinRows int // fewest training rows that a leaf holds, at least 1; 20 is usual

	// Single asks for one decision tree, whose leaves hold the shares of the
	// classes among their rows. Rounds, Rate, L2, Rows, Columns and Patience
	// are of boosting alone, and must then be zero.
	Single bool

	Rounds   int     // rounds of boosting, at least 1, of a tree to each class; of one, if there are two classes
	Rate     float64 // share of each tree that counts, above 0 and at most 1; 0.1 is usual
	L2       float64 // weight of the squared leaves in the loss, at least 0; 1 is usual
	Rows     float64 // share of the rows that a round sees, drawn anew each time; 0 is all
	Columns  float64 // share of the columns that a tree may ask for; 0 is all
	Patience int     // rounds without a better validation loss before stopping; 0 never stops early

	Bins    int       // values told apart in a column, 2 to 256; 0 is 256
	Weights []float32 // weight of each class; nil weighs all rows alike

	// Progress, if set, is called after each round.
	Progress func(Epoch)
}

// maxLeaves is the most leaves of one tree.
const maxLeaves = 1 << 15

// maxStep is how far one leaf may move a score, before the rate: a leaf whose
// rows are all told apart already has next to no curvature to divide by.
const maxStep = 8

// Trees are decision trees that tell classes apart: boosted, or one alone. They
// do not change once trained and are safe for concurrent use.
type Trees struct {
	inputs, classes int
	single          bool
	base            []float32 // score of each class before the first tree; of the second alone, if there are two
	trees           []tree
	graph           *onnx.Graph // the same, ready to run
}

// A tree is a root, nodes[0], and what lies below it.
type tree struct {
	class  int // that the leaves score; a single tree's leaves hold all
	nodes  []node
	values []float32 // of leaf i, from i*width on
}

// A node is a branch, to yes where the column is at most the threshold, or a
// leaf.
type node struct {
	column    int
	threshold float32
	yes, no   int
	leaf      int // index of the leaf, counted from 0; -1 for a branch
}

// find returns the leaf that a row reaches.
func (t *tree) find(row []float32) int {
	n := &t.nodes[0]
	for n.leaf < 0 {
		next := n.no
		if row[n.column] <= n.threshold {
			next = n.yes
		}
		n = &t.nodes[next]
	}
	return n.leaf
}

// TrainTrees fits trees to the training set by gradient boosting on the
// cross-entropy (Friedman, "Greedy Function Approximation: A Gradient Boosting
// Machine", 2001), with second-order steps and an L2 term (Chen and Guestrin,
// "XGBoost", 2016, section 2) and splits found in histograms, the best leaf
// first (Ke and others, "LightGBM", 2017). It returns the trees up to the round
// whose loss on the validation set was lowest. A single tree is split by Gini
// impurity (Breiman and others, "Classification and Regression Trees", 1984).
//
// All chance comes from rng: the same arguments give the same bits. Of splits
// that are equally good the first column, and there the lowest threshold, is
// taken. Settings or sets that make no sense are errors of kind Invalid.
func TrainTrees(cfg TreeConfig, train, validation Set, rng *rand.Rand) (*Trees, error) {
	if err := cfg.check(train, validation); err != nil {
		return nil, err
	}
	if cfg.Bins == 0 {
		cfg.Bins = maxBins
	}
	t := &Trees{inputs: train.X.Cols, classes: cfg.Classes, single: cfg.Single}
	g := newGrower(cfg, train)
	if cfg.Single {
		t.trees = []tree{g.growShares()}
	} else {
		b := newBooster(cfg, g, train, validation)
		t.base, t.trees = b.base, b.boost(rng)
	}
	if err := t.ready(); err != nil {
		return nil, err
	}
	if cfg.Single && cfg.Progress != nil {
		cfg.Progress(Epoch{Number: 1, Loss: lossOf(cfg, t.Predict(train.X), train.Y), Validation: lossOf(cfg, t.Predict(validation.X), validation.Y), Best: true})
	}
	return t, nil
}

func (cfg TreeConfig) check(train, validation Set) error {
	boosts := cfg.Rounds != 0 || cfg.Rate != 0 || cfg.L2 != 0 || cfg.Rows != 0 || cfg.Columns != 0 || cfg.Patience != 0
	switch {
	case cfg.Classes < 2 || cfg.Classes > onnx.MaxCols:
		return invalid(fmt.Sprintf("training: %d classes", cfg.Classes), fmt.Sprintf("there may be 2 to %d", onnx.MaxCols))
	case cfg.Leaves < 2 || cfg.Leaves > maxLeaves || cfg.MinRows < 1:
		return invalid("training: a tree must have 2 leaves or more, and a leaf 1 row or more", fmt.Sprintf("at most %d leaves", maxLeaves))
	case cfg.Depth < 0 || cfg.Depth > onnx.MaxTreeDepth:
		return invalid(fmt.Sprintf("training: a depth of %d", cfg.Depth), fmt.Sprintf("trees are at most %d deep", onnx.MaxTreeDepth))
	case cfg.Bins != 0 && (cfg.Bins < 2 || cfg.Bins > maxBins):
		return invalid(fmt.Sprintf("training: %d bins", cfg.Bins), fmt.Sprintf("there may be 2 to %d", maxBins))
	case cfg.Single && boosts:
		return invalid("training: a single tree is not boosted", "leave Rounds, Rate, L2, Rows, Columns and Patience out")
	case !cfg.Single && (cfg.Rounds < 1 || cfg.Patience < 0):
		return invalid("training: there must be at least 1 round", "")
	case !cfg.Single && !(cfg.Rate > 0 && cfg.Rate <= 1):
		return invalid("training: the rate must be above 0 and at most 1", "")
	case !(cfg.L2 >= 0) || math.IsInf(cfg.L2, 1):
		return invalid("training: L2 must be a number, at least 0", "")
	case !(cfg.Rows >= 0 && cfg.Rows <= 1 && cfg.Columns >= 0 && cfg.Columns <= 1):
		return invalid("training: the shares of rows and columns must be between 0 and 1", "")
	case cfg.nodes() > onnx.MaxTreeNodes:
		return invalid(fmt.Sprintf("training: the trees may get more than %d nodes and votes", onnx.MaxTreeNodes), "fewer rounds, or fewer leaves")
	}
	if err := checkWeights(cfg.Weights, cfg.Classes); err != nil {
		return err
	}
	for k, w := range cfg.Weights {
		if !(w > 0) || math.IsInf(float64(w), 1) {
			return invalid(fmt.Sprintf("training: class %d weighs %v", k, w), "weights are above 0")
		}
	}
	return checkSets(cfg.Classes, train, validation)
}

// nodes is the most nodes that the trees can have, or votes, if there can be
// more of them.
func (cfg TreeConfig) nodes() float64 {
	if cfg.Single {
		return max(2*float64(cfg.Leaves), float64(cfg.Leaves)*float64(cfg.Classes))
	}
	return float64(cfg.Rounds) * float64(outputs(cfg.Classes)) * 2 * float64(cfg.Leaves)
}

// outputs is the number of scores that tell classes apart: one for two.
func outputs(classes int) int {
	if classes == 2 {
		return 1
	}
	return classes
}

// ready makes the graph that Predict runs.
func (t *Trees) ready() error {
	w := onnx.NewWriter("trees")
	t.Emit(w, w.Input("x", t.inputs), "y")
	w.Output("y", t.classes)
	graph, err := onnx.Parse(w.Bytes())
	t.graph = graph
	return err
}

// Inputs returns the number of columns that the trees read.
func (t *Trees) Inputs() int { return t.inputs }

// Classes returns the number of classes that the trees tell apart.
func (t *Trees) Classes() int { return t.classes }

// Leaves returns the number of leaves of all trees together.
func (t *Trees) Leaves() int {
	n := 0
	for _, tree := range t.trees {
		n += (len(tree.nodes) + 1) / 2
	}
	return n
}

// Predict returns the probability of each class for each row of x, whose width
// must be Inputs; it panics if not. A number that is missing, NaN, counts as
// above every threshold. The trees run as the ONNX that Emit writes: the two
// cannot differ.
func (t *Trees) Predict(x Matrix) Matrix {
	out, err := t.graph.Run(map[string]Matrix{"x": x})
	if err != nil {
		panic(err)
	}
	return out["y"]
}

// Emit adds the trees to w as one TreeEnsembleClassifier: from the value named x,
// of [N, Inputs], to the value named y, the probabilities [N, Classes]. The
// class that it names, beside them, is the value y.label.
func (t *Trees) Emit(w *onnx.Writer, x, y string) {
	e := emission{}
	for i, tree := range t.trees {
		e.tree(int64(i), tree, t.classes, t.single)
	}
	labels := make([]int64, t.classes)
	for k := range labels {
		labels[k] = int64(k)
	}
	post := "SOFTMAX"
	switch {
	case t.single:
		post = "NONE"
	case t.classes == 2:
		post = "LOGISTIC"
	}
	attrs := append(e.attrs(), onnx.Ints("classlabels_int64s", labels), onnx.Text("post_transform", post))
	if len(t.base) > 0 {
		attrs = append(attrs, onnx.Floats("base_values", t.base))
	}
	w.NodeML("TreeEnsembleClassifier", []string{y + ".label", y}, []string{x}, attrs...)
}

// An emission holds trees as the lists of TreeEnsembleClassifier.
type emission struct {
	ids, trees, columns, yes, no   []int64
	modes                          []string
	thresholds                     []float32
	voters, votersTrees, votesFors []int64
	votes                          []float32
}

func (e *emission) tree(id int64, t tree, classes int, shares bool) {
	for k, n := range t.nodes {
		mode, threshold := "BRANCH_LEQ", n.threshold
		if n.leaf >= 0 {
			mode, threshold = "LEAF", 0
		}
		e.ids, e.trees, e.columns = append(e.ids, int64(k)), append(e.trees, id), append(e.columns, int64(n.column))
		e.yes, e.no = append(e.yes, int64(n.yes)), append(e.no, int64(n.no))
		e.modes, e.thresholds = append(e.modes, mode), append(e.thresholds, threshold)
		switch {
		case n.leaf < 0:
		case !shares:
			e.vote(id, k, t.class, t.values[n.leaf])
		case classes == 2: // of two classes, the votes for the first are the score of the second
			e.vote(id, k, 0, t.values[2*n.leaf+1])
		default:
			for class, v := range t.values[n.leaf*classes : (n.leaf+1)*classes] {
				e.vote(id, k, class, v)
			}
		}
	}
}

func (e *emission) vote(tree int64, node, class int, weight float32) {
	e.votersTrees, e.voters = append(e.votersTrees, tree), append(e.voters, int64(node))
	e.votesFors, e.votes = append(e.votesFors, int64(class)), append(e.votes, weight)
}

func (e *emission) attrs() []onnx.Attr {
	return []onnx.Attr{
		onnx.Ints("nodes_treeids", e.trees), onnx.Ints("nodes_nodeids", e.ids), onnx.Texts("nodes_modes", e.modes),
		onnx.Ints("nodes_featureids", e.columns), onnx.Floats("nodes_values", e.thresholds),
		onnx.Ints("nodes_truenodeids", e.yes), onnx.Ints("nodes_falsenodeids", e.no),
		onnx.Ints("class_treeids", e.votersTrees), onnx.Ints("class_nodeids", e.voters),
		onnx.Ints("class_ids", e.votesFors), onnx.Floats("class_weights", e.votes),
	}
}
