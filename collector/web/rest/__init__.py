"""The handlers of the REST interface, a module for each subject, with the views that no other module needs."""
