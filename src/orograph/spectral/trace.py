"""The trace by Hutchinson, Hutch++ and XTrace."""
