package gate

import "github.com/pavise/pavise"

// Form is the form that batches of a source have, for who fetches them. The error is of kind
// NotFound if there is no such source.
func (g *Gate) Form(source pavise.Name) (string, error) {
	s, err := g.find(source)
	if err != nil {
		return "", err
	}
	return s.terms.Load().spec.Form, nil
}
