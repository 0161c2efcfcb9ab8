package history

// ParseQuery is for the fuzz target.
var ParseQuery = parseQuery
