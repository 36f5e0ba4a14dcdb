"""Tables, figures, the HTML report and films."""
