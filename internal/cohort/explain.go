package cohort

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxContrasts is how many templates are named on each side.
const maxContrasts = 5

// telling is the least part of a divergence that is worth a word, in nats.
const telling = 0.002

// explain names the templates that tell an odd pod from its siblings.
func (s *summary) explain(pod int, j *Judgement, texts map[int]string) {
	type found struct {
		Contrast
		part float64
	}
	var has, lacks []found
	for k, id := range s.keys {
		p, q := s.share(pod, k), s.siblings(pod, k)
		one := found{Contrast{strings.ToValidUTF8(texts[id], "\ufffd"), p, q}, part(p, q)}
		switch {
		case one.part < telling && !s.loses(pod, k):
		case p > q:
			has = append(has, one)
		default:
			lacks = append(lacks, one)
		}
	}
	most := func(all []found) (contrasts []Contrast) {
		slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.part, a.part) })
		for _, one := range all[:min(len(all), maxContrasts)] {
			contrasts = append(contrasts, one.Contrast)
		}
		return contrasts
	}
	j.Has, j.Lacks = most(has), most(lacks)
}

// cutAt says where the lines of a pod seem to be cut, or nothing: siblings print many that are
// longer than its longest.
func cutAt(pods []*pod, pod int) string {
	longest, longer := pods[pod].longest, 0.0
	for i, p := range pods {
		n := 0
		for b, lines := range p.lengths {
			if b > bucket(longest) {
				n += lines
			}
		}
		if i != pod {
			longer += float64(n) / float64(p.lines) / float64(len(pods)-1)
		}
	}
	if longer < 0.05 {
		return ""
	}
	return fmt.Sprintf("none of its lines is longer than %d bytes, and %s of its siblings' are", longest, percent(longer))
}

// words says what is odd, behind what is known of it.
func words(j *Judgement, known ...string) string {
	said := slices.DeleteFunc(known, func(what string) bool { return what == "" })
	if len(j.Has) > 0 {
		if c := j.Has[0]; c.Siblings == 0 {
			said = append(said, fmt.Sprintf("%s of its lines are %s, which no sibling prints", percent(c.Share), brief(c.Template)))
		} else {
			said = append(said, fmt.Sprintf("%s of its lines are %s, and %s of its siblings'", percent(c.Share), brief(c.Template), percent(c.Siblings)))
		}
	}
	if len(j.Lacks) > 0 {
		if c := j.Lacks[0]; c.Share == 0 {
			said = append(said, fmt.Sprintf("it never prints %s, which is %s of its siblings' lines", brief(c.Template), percent(c.Siblings)))
		} else {
			said = append(said, fmt.Sprintf("%s is %s of its lines, and %s of its siblings'", brief(c.Template), percent(c.Share), percent(c.Siblings)))
		}
	}
	if len(said) == 0 && j.LengthZ > Threshold {
		return "its lines are of other lengths than its siblings'"
	}
	if len(said) == 0 {
		return "its templates come in other shares than its siblings', each of them a little"
	}
	return strings.Join(said, "; ")
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// brief quotes a template, or the beginning of a long one.
func brief(text string) string {
	const most = 80
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
