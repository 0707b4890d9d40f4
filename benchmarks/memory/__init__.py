"""What the processes of Auscult weigh, by the number of workers, and a listener with large films on their way."""
