module github.com/pavise/pavise

go 1.26
