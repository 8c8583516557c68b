package dashboard

// APIPath is where the API is served, below the prefix.
const APIPath = "/api/v1"
