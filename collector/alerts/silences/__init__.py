"""What people say of lines, so that nobody is alerted of them again: maintenance and acknowledgements."""
