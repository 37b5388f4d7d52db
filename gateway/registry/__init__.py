"""What an operator signs of models, their suppliers and the appliance itself: read, judged and added up."""
