package figure

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The measures of a flow, in its own units.
const (
	flowBoxWidth  = 180
	flowBoxHeight = 44
	flowGapX      = 76
	flowGapY      = 16
	flowEdge      = 14 // around all of it
	flowReach     = 36 // how far a line goes straight on
	flowLetters   = 21 // of a text in a box
	flowApart     = 9  // between lines that join the same two
	flowMark      = 16
	flowSweeps    = 4
	flowPage      = 1140 // how wide a page is: what is wider is drawn smaller, by a quarter at most
	maxFlow       = 120  // nodes that are drawn
)

// A FlowNode is something that others come from, or go to.
type FlowNode struct {
	Shape string // its class
	Title string
	Under string // smaller, below the title
	Words string // all of it
	Link  string // "" leads nowhere
}

// A FlowEdge goes from one node to another.
type FlowEdge struct {
	From, To int    // places in the list of nodes
	Kind     string // its class: those of one kind between the same two are one line
	Words    string // all of it
	MarkEnd  bool   // its mark stands where it ends, and not where it begins
}

// A Flow is what comes from what, drawn from left to right around one node in the middle:
// in the columns to the left what is behind it, each as far as it is away, to the right what
// came of it.
type Flow struct {
	Width, Height int
	Shown         int // how wide it is to be shown
	Boxes         []FlowBox
	Lines         []FlowLine
	Left          int // nodes that are not drawn, the farthest
}

// A FlowBox is a node as it is drawn.
type FlowBox struct {
	FlowNode
	X, Y, Width, Height int
	Middle              bool
}

// A FlowLine is an edge as it is drawn, or several.
type FlowLine struct {
	Kind         string
	Path, Tip    string // of the line, and of its head
	MarkX, MarkY int    // the upper left corner of its mark
	Words        string
}

// NewFlow draws nodes and edges around a node. Of more than 120 nodes the nearest are drawn.
// Edges that name no node are left out. The same list makes the same picture.
func NewFlow(nodes []FlowNode, edges []FlowEdge, middle int) *Flow {
	if middle < 0 || middle >= len(nodes) {
		return &Flow{Left: len(nodes)}
	}
	edges = slices.DeleteFunc(slices.Clone(edges), func(e FlowEdge) bool { return min(e.From, e.To) < 0 || max(e.From, e.To) >= len(nodes) })
	a := &arrangement{edges: edges, column: columnsOf(len(nodes), edges, middle)}
	left := a.nearest(len(nodes))
	a.order()
	f := &Flow{Left: left}
	tallest := 0
	for _, c := range a.columns {
		tallest = max(tallest, len(c))
	}
	f.Width = 2*flowEdge + len(a.columns)*flowBoxWidth + (len(a.columns)-1)*flowGapX
	f.Shown = max(min(f.Width, flowPage), f.Width*3/4)
	f.Height = 2*flowEdge + tallest*flowBoxHeight + (tallest-1)*flowGapY + flowReach/2
	place := map[int]FlowBox{}
	for x, c := range a.columns {
		top := flowReach/2 + (f.Height-flowReach/2-len(c)*flowBoxHeight-(len(c)-1)*flowGapY)/2
		for y, n := range c {
			place[n] = newFlowBox(nodes[n], flowEdge+x*(flowBoxWidth+flowGapX), top+y*(flowBoxHeight+flowGapY), n == middle)
			f.Boxes = append(f.Boxes, place[n])
		}
	}
	f.join(a, place)
	return f
}

func newFlowBox(n FlowNode, x, y int, middle bool) FlowBox {
	b := FlowBox{FlowNode: n, X: x, Y: y, Width: flowBoxWidth, Height: flowBoxHeight, Middle: middle}
	b.Title, b.Under, b.Words = Shorten(Plain(n.Title), flowLetters), Shorten(Plain(n.Under), flowLetters+4), Plain(n.Words)
	return b
}

// Shorten returns a text of at most n letters' width: of a longer one the beginning and the
// end, for names differ there. Letters of East Asia are as wide as two.
func Shorten(s string, n int) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if wide(runes) <= n {
		return string(runes)
	}
	var head, tail []rune
	for room := n / 2; len(head) < len(runes) && wide(append(head, runes[len(head)])) <= room; {
		head = append(head, runes[len(head)])
	}
	for room := (n - 1) / 2; wide(append(tail, runes[len(runes)-1-len(tail)])) <= room; {
		tail = append(tail, runes[len(runes)-1-len(tail)])
	}
	slices.Reverse(tail)
	return string(head) + "…" + string(tail)
}

// wide is how many letters' width a text has, about.
func wide(runes []rune) (n int) {
	for _, r := range runes {
		if n++; r >= 0x2e80 {
			n++
		}
	}
	return n
}

// columnsOf says how far each node is from the middle: behind it less than nothing, after it
// more. What is both is where it is nearer, and behind where it is the same.
func columnsOf(nodes int, edges []FlowEdge, middle int) []int {
	after, before := make([][]int, nodes), make([][]int, nodes)
	for _, e := range edges {
		after[e.From], before[e.To] = append(after[e.From], e.To), append(before[e.To], e.From)
	}
	forward, back := distances(after, middle), distances(before, middle)
	column := make([]int, nodes)
	for n := range nodes {
		switch f, b := forward[n], back[n]; {
		case f < 0 && b < 0:
			column[n] = unreached
		case b >= 0 && (f < 0 || b <= f):
			column[n] = -b
		default:
			column[n] = f
		}
	}
	return column
}

// unreached is the column of what is not drawn.
const unreached = 1 << 30

// distances are from one node; less than nothing of those that are not reached.
func distances(next [][]int, from int) []int {
	far := make([]int, len(next))
	for i := range far {
		far[i] = -1
	}
	far[from] = 0
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, n := range next[queue[0]] {
			if far[n] < 0 {
				far[n] = far[queue[0]] + 1
				queue = append(queue, n)
			}
		}
	}
	return far
}

// An arrangement is which node stands where.
type arrangement struct {
	edges   []FlowEdge
	column  []int   // of each node, from the middle
	columns [][]int // the nodes of each, from the top; from the left
	first   int     // the column that is the leftmost
}

// nearest fills the columns with the nearest nodes, and returns how many are left out.
func (a *arrangement) nearest(nodes int) (left int) {
	all := make([]int, nodes)
	for n := range all {
		all[n] = n
	}
	away := func(n int) int { return max(a.column[n], -a.column[n]) }
	slices.SortStableFunc(all, func(x, y int) int { return cmp.Compare(away(x), away(y)) })
	all = slices.DeleteFunc(all, func(n int) bool { return a.column[n] == unreached })
	all = all[:min(len(all), maxFlow)]
	last := 0
	for _, n := range all {
		a.first, last = min(a.first, a.column[n]), max(last, a.column[n])
	}
	a.columns = make([][]int, last-a.first+1)
	for _, n := range all {
		at := a.column[n] - a.first
		a.columns[at] = append(a.columns[at], n)
	}
	for _, c := range a.columns {
		slices.Sort(c)
	}
	return nodes - len(all)
}

// order moves each node to the middle of those that it is joined to in the columns beside
// (the barycentre heuristic of Sugiyama, Tagawa and Toda, 1981), a few times to and fro.
func (a *arrangement) order() {
	joined := map[int][]int{}
	for _, e := range a.edges {
		joined[e.From], joined[e.To] = append(joined[e.From], e.To), append(joined[e.To], e.From)
	}
	at := map[int]float64{}
	for _, c := range a.columns {
		settle(c, at)
	}
	for sweep := range flowSweeps {
		for i := range a.columns {
			x := i
			if sweep%2 == 1 {
				x = len(a.columns) - 1 - i
			}
			c, want := a.columns[x], map[int]float64{}
			for _, n := range c {
				sum, count := 0.0, 0
				for _, m := range joined[n] {
					if y, drawn := at[m]; drawn && m != n {
						sum, count = sum+y, count+1
					}
				}
				if want[n] = at[n]; count > 0 {
					want[n] = sum / float64(count)
				}
			}
			slices.SortStableFunc(c, func(p, q int) int { return cmp.Compare(want[p], want[q]) })
			settle(c, at)
		}
	}
}

// settle notes where the nodes of a column stand, from its middle.
func settle(column []int, at map[int]float64) {
	for y, n := range column {
		at[n] = float64(y) - float64(len(column)-1)/2
	}
}

// join draws the lines, those of one kind between the same two as one.
func (f *Flow) join(a *arrangement, place map[int]FlowBox) {
	type pair struct{ from, to int }
	type line struct {
		pair
		kind string
	}
	var order []line
	kinds, ends, words, count := map[pair]int{}, map[line]bool{}, map[line]string{}, map[line]int{}
	for _, e := range a.edges {
		l := line{pair{e.From, e.To}, e.Kind}
		if place[e.From].Width == 0 || place[e.To].Width == 0 {
			continue // not drawn
		}
		if count[l]++; count[l] == 1 {
			order = append(order, l)
			kinds[l.pair]++
			ends[l], words[l] = e.MarkEnd, Plain(e.Words)
		}
	}
	nth := map[pair]int{}
	for _, l := range order {
		shift := (2*nth[l.pair] - kinds[l.pair] + 1) * flowApart / 2
		nth[l.pair]++
		drawn := newFlowLine(place[l.from], place[l.to], shift, ends[l])
		drawn.Kind, drawn.Words = l.kind, words[l]
		if count[l] > 1 {
			drawn.Words += fmt.Sprintf("; and %d more", count[l]-1)
		}
		f.Lines = append(f.Lines, drawn)
	}
}

// newFlowLine draws a line from one box to another: to the right from side to side, and else
// from top to top.
func newFlowLine(from, to FlowBox, shift int, markEnd bool) FlowLine {
	var x, y [4]int
	tip := "l-8 -4v8z"
	if to.X > from.X {
		x = [4]int{from.X + from.Width, from.X + from.Width + flowReach, to.X - flowReach - 7, to.X - 7}
		y = [4]int{from.Y + from.Height/2 + shift, from.Y + from.Height/2 + shift, to.Y + to.Height/2 + shift, to.Y + to.Height/2 + shift}
	} else {
		x = [4]int{from.X + from.Width/2 + 3*shift + 12, from.X + from.Width/2 + 3*shift + 12, to.X + to.Width/2 + 3*shift - 12, to.X + to.Width/2 + 3*shift - 12}
		y = [4]int{from.Y, from.Y - flowReach, to.Y - flowReach - 7, to.Y - 7}
		tip = "l-4 -8h8z"
	}
	t := 0.24
	if markEnd {
		t = 0.74
	}
	mark := func(p [4]int) int {
		u := 1 - t
		return int(u*u*u*float64(p[0])+3*u*u*t*float64(p[1])+3*u*t*t*float64(p[2])+t*t*t*float64(p[3])) - flowMark/2
	}
	end := fmt.Sprintf("M%d %d", to.X, y[3])
	if to.X <= from.X {
		end = fmt.Sprintf("M%d %d", x[3], to.Y)
	}
	return FlowLine{
		Path: fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x[0], y[0], x[1], y[1], x[2], y[2], x[3], y[3]),
		Tip:  end + tip, MarkX: mark(x), MarkY: mark(y),
	}
}
