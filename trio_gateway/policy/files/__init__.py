"""Policy files as text: read, joined, and told what is wrong with them, by line."""
