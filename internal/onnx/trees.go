package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// MaxTreeNodes is the most nodes that the trees of one operator may have.
const MaxTreeNodes = 1 << 20

// MaxTreeDepth is the most branches between the root of a tree and a leaf.
const MaxTreeDepth = 1 << 10

// A forest is an ensemble of decision trees made ready to run: the votes of the
// leaves that a row reaches, one to a tree, are added up.
type forest struct {
	x, y   value
	nodes  []treeNode // of all trees
	trees  []tree
	from   []int32 // the votes of nodes[i] are votes[from[i]:from[i+1]]
	votes  []vote
	base   []float32       // added to the sums; empty is zero
	plain  bool            // no node has a rule of its own
	finish func([]float32) // of a row of sums
}

// A tree is a root, and how many branches its deepest leaf lies below it.
type tree struct {
	root, depth int32
}

// A treeNode sends a row to next[1] if the row's feature is at most the
// threshold, and to next[0] if not. A leaf sends every row to itself.
type treeNode struct {
	threshold float32
	feature   uint16
	equal     bool // compares by equality, not by order
	unknown   bool // NaN goes to next[1]
	next      [2]int32
}

// A vote is what a leaf adds to one column of the sums.
type vote struct {
	column int32
	weight float32
}

// run computes the sums of a block of rows. Trees are taken one by one, so that
// a tree stays in the cache while rows pass it, and the votes for a row are added
// in the order of the trees however many rows there are.
func (e *forest) run(f *frame) {
	x, y := f.data[e.x.slot], f.data[e.y.slot]
	clear(y)
	row := func(i int) []float32 { return x[i*e.x.cols : (i+1)*e.x.cols] }
	fours := f.rows &^ 3
	for _, t := range e.trees {
		for i := 0; i < fours; i += 4 {
			leaves := e.descend(row(i), row(i+1), row(i+2), row(i+3), [4]int32{t.root, t.root, t.root, t.root})
			for k, leaf := range leaves {
				e.add(y, i+k, leaf)
			}
		}
	}
	for i := fours; i < f.rows; i++ {
		x := row(i)
		for k := 0; k < len(e.trees); k += 4 {
			var roots [4]int32
			some := e.trees[k:min(k+4, len(e.trees))]
			for j, t := range some {
				roots[j] = t.root
			}
			leaves := e.descend(x, x, x, x, roots)
			for _, leaf := range leaves[:len(some)] {
				e.add(y, i, leaf)
			}
		}
	}
	for i := range f.rows {
		row := y[i*e.y.cols : (i+1)*e.y.cols]
		for j, b := range e.base {
			row[j] += b
		}
		e.finish(row)
	}
}

// add gives the votes of a leaf to row i.
func (e *forest) add(y []float32, i int, leaf int32) {
	row := y[i*e.y.cols : (i+1)*e.y.cols]
	for _, v := range e.votes[e.from[leaf]:e.from[leaf+1]] {
		row[v.column] += v.weight
	}
}

// descend takes four rows from the given nodes to leaves. What one step of a row
// has to wait for, it waits for beside the others.
func (e *forest) descend(x0, x1, x2, x3 []float32, at [4]int32) [4]int32 {
	if !e.plain {
		return [4]int32{e.follow(x0, at[0]), e.follow(x1, at[1]), e.follow(x2, at[2]), e.follow(x3, at[3])}
	}
	nodes, at0, at1, at2, at3 := e.nodes, at[0], at[1], at[2], at[3]
	for {
		n0, n1, n2, n3 := &nodes[at0], &nodes[at1], &nodes[at2], &nodes[at3]
		to0 := n0.next[side(x0[n0.feature] <= n0.threshold)]
		to1 := n1.next[side(x1[n1.feature] <= n1.threshold)]
		to2 := n2.next[side(x2[n2.feature] <= n2.threshold)]
		to3 := n3.next[side(x3[n3.feature] <= n3.threshold)]
		if to0 == at0 && to1 == at1 && to2 == at2 && to3 == at3 {
			return [4]int32{at0, at1, at2, at3}
		}
		at0, at1, at2, at3 = to0, to1, to2, to3
	}
}

// follow takes a row from a node to a leaf, where nodes compare by equality, or
// send NaN to the side of small numbers.
func (e *forest) follow(x []float32, at int32) int32 {
	for {
		n := &e.nodes[at]
		v := x[n.feature]
		yes := v <= n.threshold
		switch {
		case v != v:
			yes = n.unknown
		case n.equal:
			yes = v == n.threshold
		}
		to := n.next[side(yes)]
		if to == at {
			return at
		}
		at = to
	}
}

// side is 1 for yes, without a branch that a processor would have to guess.
func side(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// treeClassifier gives a class label, its first output, and the score of each
// class, its second. What the specification leaves open is read as the
// project's own reference does (onnx/reference/ops/aionnxml in
// https://github.com/onnx/onnx): the votes of two classes that all go to the
// first are a score of the second.
func treeClassifier(c *compiler, n *node) error {
	if err := n.arity(1, 1, 2); err != nil {
		return err
	}
	if len(n.outputs) != 2 || n.outputs[0] == "" {
		return errors.New("both outputs, label and scores, must be named")
	}
	labels, err := n.labels("classlabels_int64s")
	if err != nil {
		return err
	}
	e, err := c.forest(n, "class", labels.count)
	if err != nil {
		return err
	}
	post, err := n.text("post_transform", "NONE")
	if err != nil {
		return err
	}
	after, err := e.rank(post, labels.count)
	if err != nil {
		return err
	}
	if err := c.define(n.outputs[1], e.y); err != nil {
		return err
	}
	c.step(e.run)
	return c.pick(n.outputs[0], e.y, labels, after)
}

// rank has run give scores of which the largest is the best class, and returns
// what makes them what post asks for.
func (e *forest) rank(post string, classes int) (after func([]float32), err error) {
	if classes == 2 && e.oneColumn() {
		return e.second(post)
	}
	after, ok := transforms[post]
	switch {
	case !ok:
		return nil, fmt.Errorf("attribute post_transform=%q is not supported", post)
	case len(e.base) != 0 && len(e.base) != classes:
		return nil, fmt.Errorf("%d base_values for %d classes", len(e.base), classes)
	case post == "SOFTMAX_ZERO": // which has another best than the sums where those are negative
		e.finish, after = after, unchanged
	}
	return after, nil
}

// treeRegressor gives the sum of the votes for each target.
func treeRegressor(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	targets, err := n.int("n_targets", 1)
	if err != nil {
		return err
	}
	if targets < 1 || targets > MaxCols {
		return fmt.Errorf("n_targets=%d; it must be 1 to %d", targets, MaxCols)
	}
	if by, err := n.text("aggregate_function", "SUM"); err != nil {
		return err
	} else if by != "SUM" {
		return fmt.Errorf("aggregate_function=%q is not supported, only SUM", by)
	}
	e, err := c.forest(n, "target", int(targets))
	if err != nil {
		return err
	}
	if len(e.base) != 0 && len(e.base) != int(targets) {
		return fmt.Errorf("%d base_values for %d targets", len(e.base), targets)
	}
	post, err := n.text("post_transform", "NONE")
	if err != nil {
		return err
	}
	if targets == 1 && post != "NONE" {
		return fmt.Errorf("post_transform=%q of a single target is not supported: runtimes read it differently", post)
	}
	finish, ok := transforms[post]
	if !ok {
		return fmt.Errorf("attribute post_transform=%q is not supported", post)
	}
	e.finish = finish
	c.step(e.run)
	return c.define(n.outputs[0], e.y)
}

// oneColumn reports whether every vote is for the same class.
func (e *forest) oneColumn() bool {
	return len(e.votes) > 0 && !slices.ContainsFunc(e.votes, func(v vote) bool { return v.column != e.votes[0].column })
}

// second makes scores of two classes from the votes of one, as converters of
// binary models write them.
func (e *forest) second(post string) (after func([]float32), err error) {
	switch {
	case e.votes[0].column != 0:
		return nil, errors.New("all votes are for the second of two classes, which runtimes read differently: let them be for the first; they are the score of the second then")
	case len(e.base) > 1:
		return nil, fmt.Errorf("%d base_values where all votes are for one class of two; at most one is supported", len(e.base))
	case post == "LOGISTIC":
		e.finish = func(row []float32) { row[0], row[1] = -row[0], row[0] }
		return sigmoids, nil
	case post != "NONE":
		return nil, fmt.Errorf("post_transform=%q where all votes are for one class of two is not supported: runtimes read it differently", post)
	case slices.ContainsFunc(e.votes, func(v vote) bool { return v.weight < 0 }):
		return nil, errors.New("negative votes, all for one class of two, and post_transform=NONE: runtimes read this differently")
	}
	e.finish = func(row []float32) { row[0], row[1] = 1-row[0], row[0] }
	return unchanged, nil
}

func unchanged([]float32) {}

// transforms are what is done to a row of scores, by post_transform.
var transforms = map[string]func([]float32){
	"NONE":         unchanged,
	"SOFTMAX":      Softmax,
	"SOFTMAX_ZERO": softmaxZero,
	"LOGISTIC":     sigmoids,
}

// softmaxZero is the softmax of the scores that are not zero; the others stay
// zero.
func softmaxZero(row []float32) {
	const zero = 1e-7
	top, sum := row[argMax(row)], float32(0)
	for j, v := range row {
		if v >= -zero && v <= zero {
			row[j] = 0
			continue
		}
		row[j] = Exp(v - top)
		sum += row[j]
	}
	for j := range row {
		if row[j] != 0 {
			row[j] /= sum
		}
	}
}

// forest reads the trees of a node whose votes are in the attributes that begin
// with the given word, for the given number of columns.
func (c *compiler) forest(n *node, votes string, columns int) (*forest, error) {
	x, err := c.table(n, 0)
	if err != nil {
		return nil, err
	}
	r, err := n.forestAttributes(votes)
	if err != nil {
		return nil, err
	}
	e := &forest{x: x, plain: true, finish: unchanged}
	if err := e.plant(r, x.cols); err != nil {
		return nil, err
	}
	if err := e.count(r, columns); err != nil {
		return nil, err
	}
	base, err := n.attr("base_values", attrTypeFloats)
	if err != nil {
		return nil, err
	}
	if base != nil {
		e.base = base.floats
	}
	if !allFinite(e.base) {
		return nil, errors.New("base_values holds what is not a finite number")
	}
	if err := c.spend(e.work()); err != nil {
		return nil, err
	}
	e.y, err = c.slot(columns)
	return e, err
}

// work is what a row takes: a step for every branch on the longest way, and for
// every vote at its end.
func (e *forest) work() int {
	steps := 0
	for i, t := range e.trees {
		end := len(e.nodes)
		if i+1 < len(e.trees) {
			end = int(e.trees[i+1].root)
		}
		most := int32(0)
		for k := int(t.root); k < end; k++ {
			most = max(most, e.from[k+1]-e.from[k])
		}
		steps += int(t.depth + most)
	}
	return steps
}

// plant makes the nodes and the trees, and finds that they are trees: every node
// reached from the root of its tree, once.
func (e *forest) plant(r *forestReader, cols int) error {
	e.nodes = make([]treeNode, len(r.ids))
	parents := make([]bool, len(r.ids))
	for i := range e.nodes {
		n, err := r.node(i, cols)
		if err != nil {
			return fmt.Errorf("node %d of tree %d: %w", r.ids[i], r.trees[i], err)
		}
		e.nodes[i] = n
		e.plain = e.plain && !n.equal && !n.unknown
		for _, to := range n.next {
			if int(to) == i {
				continue
			}
			if parents[to] {
				return fmt.Errorf("node %d of tree %d: two branches lead to it", r.ids[to], r.trees[to])
			}
			parents[to] = true
		}
	}
	for i := range e.nodes {
		if i > 0 && r.trees[i] == r.trees[i-1] {
			continue
		}
		if parents[i] {
			return fmt.Errorf("node %d of tree %d: the first node of a tree must be its root, and a branch leads to this one", r.ids[i], r.trees[i])
		}
		e.trees = append(e.trees, tree{root: int32(i)})
	}
	return e.climb(r)
}

// climb measures the trees, from their roots on. No node has two parents, so
// that none is met twice.
func (e *forest) climb(r *forestReader) error {
	type place struct{ node, depth int32 }
	reached := make([]bool, len(e.nodes))
	var ahead []place
	for i := range e.trees {
		t := &e.trees[i]
		for ahead = append(ahead[:0], place{t.root, 0}); len(ahead) > 0; {
			p := ahead[len(ahead)-1]
			ahead = ahead[:len(ahead)-1]
			reached[p.node] = true
			t.depth = max(t.depth, p.depth)
			if p.depth > MaxTreeDepth {
				return fmt.Errorf("tree %d is deeper than %d branches", r.trees[t.root], MaxTreeDepth)
			}
			for _, to := range e.nodes[p.node].next {
				if to != p.node {
					ahead = append(ahead, place{to, p.depth + 1})
				}
			}
		}
	}
	if i := slices.Index(reached, false); i >= 0 {
		return fmt.Errorf("node %d of tree %d: no way leads to it from the root: the tree has a second root or a cycle", r.ids[i], r.trees[i])
	}
	return nil
}

// count sorts the votes by leaf. A leaf may vote once for each column.
func (e *forest) count(r *forestReader, columns int) error {
	at := make([]int32, len(r.voteIDs))
	e.from = make([]int32, len(e.nodes)+1)
	for i := range at {
		k, ok := r.find(r.voteTrees[i], r.voteNodes[i])
		switch {
		case !ok:
			return fmt.Errorf("vote %d is of node %d of tree %d, which does not exist", i, r.voteNodes[i], r.voteTrees[i])
		case !e.nodes[k].leaf(k):
			return fmt.Errorf("vote %d is of node %d of tree %d, which is no leaf", i, r.voteNodes[i], r.voteTrees[i])
		case r.voteIDs[i] < 0 || r.voteIDs[i] >= int64(columns):
			return fmt.Errorf("vote %d is for column %d of %d", i, r.voteIDs[i], columns)
		case r.weights[i]-r.weights[i] != 0:
			return fmt.Errorf("vote %d is not a finite number", i)
		}
		at[i] = k
		e.from[k+1]++
	}
	for k := range e.nodes {
		e.from[k+1] += e.from[k]
	}
	e.votes = make([]vote, len(at))
	next := slices.Clone(e.from)
	for i, k := range at {
		e.votes[next[k]] = vote{column: int32(r.voteIDs[i]), weight: r.weights[i]}
		next[k]++
	}
	for k := range e.nodes {
		votes := e.votes[e.from[k]:e.from[k+1]]
		slices.SortFunc(votes, func(a, b vote) int { return cmp.Compare(a.column, b.column) })
		for i := 1; i < len(votes); i++ {
			if votes[i].column == votes[i-1].column {
				return fmt.Errorf("node %d of tree %d votes twice for column %d", r.ids[k], r.trees[k], votes[i].column)
			}
		}
	}
	return nil
}

// leaf reports whether n, the node at k, is a leaf.
func (n *treeNode) leaf(k int32) bool { return n.next[0] == k && n.next[1] == k }

// A forestReader holds the attributes that describe trees, of one length each
// kind, as they came.
type forestReader struct {
	ids, trees, features, yes, no, missing []int64 // missing may be empty
	values                                 []float32
	modes                                  []string
	order                                  []int32 // nodes by tree and id

	voteTrees, voteNodes, voteIDs []int64
	weights                       []float32
}

func (n *node) forestAttributes(votes string) (*forestReader, error) {
	r := &forestReader{}
	for name, to := range map[string]*[]int64{
		"nodes_nodeids": &r.ids, "nodes_treeids": &r.trees, "nodes_featureids": &r.features,
		"nodes_truenodeids": &r.yes, "nodes_falsenodeids": &r.no, "nodes_missing_value_tracks_true": &r.missing,
		votes + "_treeids": &r.voteTrees, votes + "_nodeids": &r.voteNodes, votes + "_ids": &r.voteIDs,
	} {
		a, err := n.attr(name, attrTypeInts)
		if err != nil {
			return nil, err
		}
		if a != nil {
			*to = a.ints
		}
	}
	var popularity []float32
	for name, to := range map[string]*[]float32{
		"nodes_values": &r.values, "nodes_hitrates": &popularity, votes + "_weights": &r.weights,
	} {
		a, err := n.attr(name, attrTypeFloats)
		if err != nil {
			return nil, err
		}
		if a != nil {
			*to = a.floats
		}
	}
	modes, err := n.attr("nodes_modes", attrTypeStrings)
	if err != nil {
		return nil, err
	}
	if modes != nil {
		r.modes = modes.texts
	}
	if err := r.lengths(len(popularity)); err != nil {
		return nil, err
	}
	return r, r.sort()
}

// lengths checks that the lists which describe one thing are of one length.
func (r *forestReader) lengths(popularity int) error {
	nodes := len(r.ids)
	if nodes == 0 || nodes > MaxTreeNodes {
		return fmt.Errorf("nodes_nodeids names %d nodes; it must be 1 to %d", nodes, MaxTreeNodes)
	}
	for _, have := range []struct {
		name string
		n    int
		none bool // may be left out
	}{
		{"nodes_treeids", len(r.trees), false}, {"nodes_featureids", len(r.features), false},
		{"nodes_truenodeids", len(r.yes), false}, {"nodes_falsenodeids", len(r.no), false},
		{"nodes_values", len(r.values), false}, {"nodes_modes", len(r.modes), false},
		{"nodes_missing_value_tracks_true", len(r.missing), true}, {"nodes_hitrates", popularity, true},
	} {
		if have.n != nodes && (have.n != 0 || !have.none) {
			return fmt.Errorf("%s has %d elements for %d nodes", have.name, have.n, nodes)
		}
	}
	if n := len(r.weights); n == 0 || n != len(r.voteIDs) || n != len(r.voteNodes) || n != len(r.voteTrees) {
		return fmt.Errorf("the votes of the leaves are %d weights with %d ids, %d nodes and %d trees", n, len(r.voteIDs), len(r.voteNodes), len(r.voteTrees))
	}
	return nil
}

// sort makes the nodes findable. Those of a tree must stand together.
func (r *forestReader) sort() error {
	r.order = make([]int32, len(r.ids))
	runs, trees := 0, 0
	for i := range r.order {
		r.order[i] = int32(i)
		if i == 0 || r.trees[i] != r.trees[i-1] {
			runs++
		}
	}
	slices.SortFunc(r.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(r.trees[a], r.trees[b]), cmp.Compare(r.ids[a], r.ids[b]))
	})
	for i, k := range r.order {
		if i == 0 || r.trees[k] != r.trees[r.order[i-1]] {
			trees++
		} else if r.ids[k] == r.ids[r.order[i-1]] {
			return fmt.Errorf("node %d of tree %d is there twice", r.ids[k], r.trees[k])
		}
	}
	if runs != trees {
		return errors.New("the nodes of a tree must stand together")
	}
	return nil
}

// find returns where a node stands.
func (r *forestReader) find(tree, id int64) (int32, bool) {
	i, ok := slices.BinarySearchFunc(r.order, id, func(k int32, id int64) int {
		return cmp.Or(cmp.Compare(r.trees[k], tree), cmp.Compare(r.ids[k], id))
	})
	if !ok {
		return 0, false
	}
	return r.order[i], true
}

// treeModes are the kinds of nodes.
var treeModes = []string{"LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}

// node makes node i. All orders become the one of treeNode: v < t is v ≤ the
// float below t, and the others are the contrary of one of these.
func (r *forestReader) node(i, cols int) (treeNode, error) {
	mode := r.modes[i]
	if mode == "LEAF" {
		return treeNode{next: [2]int32{int32(i), int32(i)}}, nil
	}
	n := treeNode{threshold: r.values[i]}
	if n.threshold != n.threshold {
		return n, errors.New("its value is not a number")
	}
	if r.features[i] < 0 || r.features[i] >= int64(cols) {
		return n, fmt.Errorf("feature %d of %d", r.features[i], cols)
	}
	n.feature = uint16(r.features[i])
	yes, known := r.find(r.trees[i], r.yes[i])
	if !known {
		return n, fmt.Errorf("nodes_truenodeids names node %d, which its tree does not have", r.yes[i])
	}
	no, known := r.find(r.trees[i], r.no[i])
	if !known {
		return n, fmt.Errorf("nodes_falsenodeids names node %d, which its tree does not have", r.no[i])
	}
	if int(yes) == i || int(no) == i {
		return n, errors.New("it leads to itself")
	}
	missing := mode == "BRANCH_NEQ" // NaN differs from every number
	if len(r.missing) > 0 {
		if t := r.missing[i]; t != 0 && t != 1 {
			return n, fmt.Errorf("nodes_missing_value_tracks_true is %d", t)
		}
		missing = missing || r.missing[i] == 1
	}
	swapped := false
	switch mode {
	case "BRANCH_LEQ":
	case "BRANCH_LT":
		n.below()
	case "BRANCH_GT":
		swapped = true
	case "BRANCH_GTE":
		n.below()
		swapped = true
	case "BRANCH_EQ":
		n.equal = true
	case "BRANCH_NEQ":
		n.equal, swapped = true, true
	default:
		return n, fmt.Errorf("mode %.32q is not supported", mode)
	}
	n.next, n.unknown = [2]int32{no, yes}, missing
	if swapped {
		n.next, n.unknown = [2]int32{yes, no}, !missing
	}
	return n, nil
}

// below lowers the threshold to the next float. Nothing is below -∞, and
// nothing is at most NaN.
func (n *treeNode) below() {
	if math.IsInf(float64(n.threshold), -1) {
		n.threshold = float32(math.NaN())
		return
	}
	n.threshold = math.Nextafter32(n.threshold, float32(math.Inf(-1)))
}
