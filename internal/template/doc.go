// Package template finds the templates of log lines: the text that a program prints again and
// again, with <*> where something varies. It is Drain (He, Zhu, Zheng, Lyu: Drain: An Online Log
// Parsing Approach with Fixed Depth Tree, ICWS 2017) as Drain3 has it: lines are parted by how
// many words they have and by the first one, and counted to the template that most of their
// words agree with, two in five at least.
//
// Before that, values that show by their form (addresses, numbers, identifiers) are masked. Two
// masked words that are the same say half as much as two other words: of all, that a number
// stands in the same place says that lines are alike, but not very.
//
// The package owns the clusters of each [Miner], bounded in number and in bytes: those that were
// not seen for longest give way. It knows no files and no clock.
package template
