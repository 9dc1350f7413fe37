package upstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
)

// Shares are the weights of servers, by URL: as said, each as URL=SHARE, else as they
// were, else one. The error is of kind Invalid.
func Shares(urls []string, was []Endpoint, said []string) (map[string]int, error) {
	shares := map[string]int{}
	for _, url := range urls {
		shares[url] = 1
	}
	for _, e := range was {
		if _, stays := shares[e.URL]; stays {
			shares[e.URL] = e.Weight
		}
	}
	for _, text := range said {
		at := max(strings.LastIndexByte(text, '='), 0)
		n, err := strconv.Atoi(text[min(at+1, len(text)):])
		_, known := shares[text[:at]]
		switch {
		case at == 0 || err != nil:
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("weight %.200q is not URL=SHARE", text), Hint: "write it as http://host:port=3"}
		case !known || text[:at] == "":
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("weight %.200q is of no server of the route", text), Hint: "name a server as pavise route list --json does"}
		}
		shares[text[:at]] = n
	}
	return shares, nil
}
